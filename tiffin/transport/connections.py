"""How `client` reaches a service: one interface, with an implementation each in `unix` and `tcp`.

A request gives an `Answer`, which its caller reads; those of one service are in `Connections`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import msgspec

from tiffin.core.deadline import Deadline

CONNECT_S = 5.0
MOST_UNREAD_BYTES = 1 << 18
"""A service that writes faster than its caller reads is held up from here on."""


class NotReachable(ConnectionError):
    """There is no connection to the service."""


class GivenUp(ConnectionError):
    """The service is away, so no one waits for its answers any longer."""


class Request(msgspec.Struct, frozen=True):
    """What is asked of a service: a POST of the body, or a GET if there is none."""

    path: str
    deadline: Deadline
    headers: Mapping[str, str] = {}
    body: bytes | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.body is None else "POST"


class Answer(ABC):
    """What comes back for one request.

    Everything that has arrived is read before a failure is raised. At the end of a `with` block the
    request is over.
    """

    def __init__(self, owner: "Connections") -> None:
        self.body = bytearray()
        """What has arrived of the body. Its reader may take it out."""
        self.status = 0
        self.content_type = ""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._complete = False
        self._failure: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._owner.end(self)

    def begin(self, deadline: Deadline) -> None:
        """A request begins, which fails at the deadline."""
        self.body = bytearray()
        self.status, self.content_type = 0, ""
        self._complete = False
        self._timer = self._loop.call_later(deadline.remaining(), self.fail, TimeoutError())

    async def answered(self) -> None:
        """Wait for the head of the answer."""
        while not self.status:
            await self._change()

    async def more(self) -> None:
        """Wait for more of the body. Raises ConnectionError if it has ended."""
        had = len(self.body)
        while len(self.body) == had:
            if self._complete:
                raise ConnectionError("the answer has ended")
            await self._change()

    async def rest(self) -> bytes:
        """Wait for the end of the body, and return what was not taken out of it."""
        while not self._complete:
            await self._change()
        return bytes(self.body)

    def fail(self, error: Exception) -> None:
        """Give up: the service's work stops, and whoever waits gets the error."""
        if self._failure is None:
            self._failure = error
        self.close()
        self._wake()

    def end(self) -> None:
        """The request is over. What it leaves is closed, or kept for the next one."""
        if self._timer is not None:
            self._timer.cancel()

    @abstractmethod
    async def send(self, request: Request) -> None:
        """Send the request. Raises NotReachable, and TimeoutError at the deadline."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, which stops the service's work."""

    @abstractmethod
    def _read_on(self) -> None:
        """Let the service go on if it was held up."""

    async def _change(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._read_on()
        self._reader = self._loop.create_future()
        await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Connections(ABC):
    """All requests to one service."""

    def __init__(self) -> None:
        self._busy: set[Answer] = set()
        self.heard_at = 0.0
        """When anything last came from the service, by `time.monotonic`."""

    async def ask(self, request: Request) -> Answer:
        """The answer, once it has begun; the caller must `end` it, preferably by `with`.

        Raises NotReachable, TimeoutError at the deadline, and GivenUp. So does reading on, and any
        other OSError when the connection breaks.
        """
        _check_lines(request.headers)
        answer = self._answer()
        self._busy.add(answer)
        try:
            answer.begin(request.deadline)
            await answer.send(request)
            await answer.answered()
        except BaseException:
            self.end(answer)
            raise
        return answer

    def end(self, answer: Answer) -> None:
        """The request is over; unless its answer was read whole, its connection is closed."""
        self._busy.discard(answer)
        answer.end()

    def give_up(self, reason: str) -> None:
        """Every request in flight ends now, with GivenUp."""
        for answer in tuple(self._busy):
            answer.fail(GivenUp(reason))

    async def close(self) -> None:
        """Close every connection, including those in use."""
        for answer in tuple(self._busy):
            answer.close()
        await asyncio.sleep(0)  # the event loop closes them

    @abstractmethod
    def _answer(self) -> Answer:
        """The one that the next request gets."""


def _check_lines(headers: Mapping[str, str]) -> None:
    """Raises ValueError for a header that would bring another one along."""
    for value in headers.values():
        if "\r" in value or "\n" in value:
            raise ValueError("a header is one line")
