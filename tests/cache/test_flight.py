"""Several readers of one computation."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from tiffin.cache.flight import Flight
from tiffin.core.deadline import Deadline
from tiffin.core.errors import UpstreamFailed


class Work:
    """Yields numbers, each when it is let."""

    def __init__(self, count: int = 3, *, fails: bool = False) -> None:
        self.steps = [asyncio.Event() for _ in range(count)]
        self.fails = fails
        self.closed = asyncio.Event()
        self.landed: list[list[int]] = []

    async def events(self) -> AsyncGenerator[int, None]:
        try:
            for number, step in enumerate(self.steps):
                await step.wait()
                yield number
            if self.fails:
                raise UpstreamFailed("broke off")
        finally:
            self.closed.set()

    async def land(self, events: list[int]) -> None:
        self.landed.append(events)

    def go(self) -> None:
        for step in self.steps:
            step.set()


async def read(flight: Flight[int], **limits: Deadline) -> list[int]:
    return [event async for event in flight.read(**limits)]


async def test_who_comes_late_gets_what_came_before() -> None:
    work = Work()
    flight = Flight(work.events(), work.land)
    first = asyncio.create_task(read(flight))
    work.steps[0].set()
    await asyncio.sleep(0.01)
    second = asyncio.create_task(read(flight))
    work.go()
    assert await first == await second == [0, 1, 2]
    await flight.task
    assert work.landed == [[0, 1, 2]]


async def test_the_work_goes_on_when_the_first_reader_leaves_and_stops_with_the_last() -> None:
    work = Work()
    flight = Flight(work.events(), work.land)
    first, second = (asyncio.create_task(read(flight)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    assert not work.closed.is_set()
    second.cancel()
    await asyncio.wait([first, second])
    assert work.closed.is_set()
    assert not work.landed


async def test_a_slow_reader_holds_nobody_up() -> None:
    work = Work()
    flight = Flight(work.events(), work.land)
    async with aclosing(flight.read()) as slow:
        work.go()
        assert await anext(slow) == 0
        assert await read(flight) == [0, 1, 2]


async def test_a_failure_reaches_all_readers_and_nothing_is_kept() -> None:
    work = Work(fails=True)
    flight = Flight(work.events(), work.land)
    readers = [asyncio.create_task(read(flight)) for _ in range(3)]
    work.go()
    ended = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(one, UpstreamFailed) for one in ended)
    assert not work.landed


async def test_a_reader_waits_for_the_first_event_and_the_rest_no_longer_than_it_may() -> None:
    work = Work()
    flight = Flight(work.events(), work.land)
    other = asyncio.create_task(read(flight))
    with pytest.raises(TimeoutError):
        await read(flight, first_by=Deadline.after(0.01))
    work.steps[0].set()
    with pytest.raises(TimeoutError):
        await read(flight, all_by=Deadline.after(0.01))
    work.go()
    assert await other == [0, 1, 2]
