"""One computation that several requests read, so that a stampede on one question asks a model once.

Each reader gets all events, also those from before it came. A reader that leaves, or reads slowly,
does not hold up the others; when the last one leaves, the work stops.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from tiffin.core.deadline import Deadline

Event = TypeVar("Event")
Landed = Callable[[list[Event]], Awaitable[None]]


class Flight(Generic[Event]):
    """Begins at once, within the caller's context variables.

    `landed` gets the events of a whole answer, after the readers have them.
    """

    def __init__(self, events: AsyncGenerator[Event, None], landed: "Landed[Event]") -> None:
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._over = False
        self._readers = 0
        self._news = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(events, landed))

    async def read(
        self, first_by: Deadline | None = None, all_by: Deadline | None = None
    ) -> AsyncGenerator[Event, None]:
        """All events from the first on. Raises what the work raised, and TimeoutError."""
        self._readers += 1
        try:
            at = 0
            while True:
                while at < len(self._events):
                    at += 1
                    yield self._events[at - 1]
                if self._over:
                    break
                limit = all_by if at else first_by
                async with asyncio.timeout(None if limit is None else limit.remaining()):
                    await self._news.wait()
            if self._error is not None:
                raise self._error
        finally:
            self._readers -= 1
            if not self._readers and not self._over:
                self.task.cancel()
                await asyncio.wait([self.task])

    async def _run(self, events: AsyncGenerator[Event, None], landed: "Landed[Event]") -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    self._events.append(event)
                    self._tell()
        except Exception as error:  # noqa: BLE001  raised again where the readers are
            self._error = error
        finally:
            self._over = True
            self._tell()
        if self._error is None:
            await landed(self._events)

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()
