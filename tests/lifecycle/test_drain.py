"""How the entry service ends: what is in work finishes or is cut off, what is new is refused."""

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tiffin.api.errors import closing_response
from tiffin.config.resilience import SupervisionSettings
from tiffin.lifecycle.drain import Drain, DrainMiddleware


class Entry:
    """An app whose work ends when it is told to, behind the middleware."""

    def __init__(self) -> None:
        self.drain = Drain()
        self.finish = asyncio.Event()
        self.server_ended = asyncio.Event()
        app = Starlette(routes=[Route("/work", self.work), Route("/readyz", self.ready)])
        draining = DrainMiddleware(app, drain=self.drain, refuse=closing_response)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(draining), base_url="http://tiffin"
        )

    async def work(self, _: Request) -> PlainTextResponse:
        await self.finish.wait()
        return PlainTextResponse("done")

    async def ready(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("draining" if self.drain.began else "ready")

    async def cut_off(self) -> None:
        self.finish.set()


@contextmanager
def listening(entry: Entry, **limits: int) -> Generator[None, None, None]:
    """The entry's handlers for signals; those that stood before come back."""
    before = signal.signal(signal.SIGTERM, lambda *_: entry.server_ended.set())
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        entry.drain.on_signals(SupervisionSettings(**limits), entry.cut_off)
        yield
    finally:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


async def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)


async def test_what_is_in_work_finishes_and_what_is_new_is_refused() -> None:
    entry = Entry()
    with listening(entry):
        work = asyncio.create_task(entry.client.get("/work"))
        await asyncio.sleep(0.05)
        await terminate()
        assert (await entry.client.get("/readyz")).text == "draining"
        refused = await entry.client.get("/work")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        assert refused.json()["error"]["code"] == "shutting_down"
        assert not entry.server_ended.is_set()
        entry.finish.set()
        assert (await work).text == "done"
        await asyncio.wait_for(entry.server_ended.wait(), 5)


async def test_at_the_drain_limit_the_work_is_cut_off() -> None:
    entry = Entry()
    with listening(entry, drain_ms=100):
        work = asyncio.create_task(entry.client.get("/work"))
        await asyncio.sleep(0.05)
        await terminate()
        await asyncio.wait_for(entry.server_ended.wait(), 5)
        assert (await work).status_code == 200, "it ended by the cut-off, not by a broken socket"


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_drain_that_is_cancelled_as_the_last_request_ends_does_not_go_on(
    turns: int,
) -> None:
    entry, went_on = Entry(), asyncio.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: went_on.set())
    try:
        with entry.drain.work():
            entry.drain.on_signals(SupervisionSettings(), entry.cut_off)
            await terminate()
            (ending,) = (one for one in asyncio.all_tasks() if "Drain._end" in repr(one))
        for _ in range(turns):
            await asyncio.sleep(0)
        if ending.cancel():
            with pytest.raises(asyncio.CancelledError):
                await ending
            assert not went_on.is_set()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(signal.SIGTERM, before)


async def test_a_second_signal_ends_at_once() -> None:
    entry = Entry()
    with listening(entry):
        work = asyncio.create_task(entry.client.get("/work"))
        await asyncio.sleep(0.05)
        await terminate()
        assert not entry.server_ended.is_set()
        await terminate()
        assert entry.server_ended.is_set()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_a_balancer_is_given_time_to_notice() -> None:
    entry = Entry()
    entry.finish.set()
    with listening(entry, drain_notice_ms=300):
        await terminate()
        assert (await entry.client.get("/readyz")).text == "draining"
        assert (await entry.client.get("/work")).status_code == 200
        await asyncio.wait_for(entry.server_ended.wait(), 5)
