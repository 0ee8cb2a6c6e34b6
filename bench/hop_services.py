"""BentoML services for the hop benchmark: `Caller` calls `Ours` and `Stock`, which only echo.

Served by `bench.hop` with `bentoml serve bench.hop_services:Caller`.
"""

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import bentoml
import msgspec

from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.transport import wire
from tiffin.transport.client import ServiceClient
from tiffin.transport.dispatcher import Dispatcher
from tiffin.transport.server import RpcApp

QUIET: dict[str, Any] = {"access": {"enabled": False}}
rpc = RpcApp("Ours", max_body_bytes=1 << 20, max_in_flight=64)


class Message(msgspec.Struct, frozen=True):
    """What is sent and echoed."""

    text: str


@bentoml.service(name="Ours", logging=QUIET)
class Ours:
    """Behind the dispatcher that all of Tiffin's services have."""

    def __init__(self) -> None:
        rpc.unary("echo", Message, self.echo)

    async def echo(self, message: Message, _: RequestContext) -> Message:
        """Give back what came."""
        return message


# The type checker does not see what BentoML's decorator makes of a class.
ours: Any = Ours
ours.add_asgi_middleware(Dispatcher, front=rpc, owns=lambda _, path: path.startswith(wire.PREFIX))


@bentoml.service(name="Stock", logging=QUIET)
class Stock:
    """As BentoML's documentation shows it; the dispatcher would refuse its pickles."""

    @bentoml.api
    async def echo(self, text: str) -> str:
        """Give back what came."""
        return text


@bentoml.service(name="Caller", logging=QUIET)
class Caller:
    """Measures from where the entry service calls: another process of the same composition."""

    ours = bentoml.depends(Ours)
    stock = bentoml.depends(Stock)

    def __init__(self) -> None:
        self.client = ServiceClient("Ours", ours.url or "")
        self.local = ours.inner()

    @bentoml.api
    async def measure(self, rounds: int, calls: int, size: int) -> dict[str, list[float]]:
        """Median ms of a call, for each way and each round; the ways take turns."""
        text = "x" * size
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "in process": lambda: self.local.echo(Message(text), RequestContext(_soon())),
            "tiffin.transport": lambda: self._ours(text),
            "bentoml.depends()": lambda: self.stock.echo(text=text),
        }
        medians: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, call in ways.items():
                medians[name].append(median([await _timed_ms(call) for _ in range(calls)]))
        return medians

    async def _ours(self, text: str) -> Message:
        return await self.client.call("echo", Message(text), Message, RequestContext(_soon()))


def _soon() -> Deadline:
    return Deadline.after(10)


async def _timed_ms(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1000
