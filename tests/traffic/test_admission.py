"""Who comes in at the door, who waits and who is sent away."""

import asyncio

import pytest

from tiffin.config.resilience import AdmissionSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import Overloaded
from tiffin.traffic.admission import AdmissionQueue

SMALL, LARGE = "small", "large"


def limit_of(queue: AdmissionQueue, lane: str) -> int:
    limit, _ = queue.lanes()[lane]
    return limit


def context(tenant: str = "a", *, batch: bool = False, seconds: float = 5) -> RequestContext:
    return RequestContext(Deadline.after(seconds), tenant=tenant, batch=batch)


class Crowd:
    """Questions that hold their place until told to leave."""

    def __init__(self, queue: AdmissionQueue) -> None:
        self.queue = queue
        self.entered: list[str] = []
        self.refused: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(
        self, name: str, tenant: str = "a", *, batch: bool = False, lane: str = SMALL
    ) -> None:
        self._leave[name] = asyncio.Event()
        stay = self._stay(name, context(tenant, batch=batch), lane)
        self._tasks[name] = asyncio.create_task(stay)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def leaves(self, name: str) -> None:
        self._leave[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def gives_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])

    async def _stay(self, name: str, context: RequestContext, lane: str) -> None:
        try:
            async with self.queue.place(context, lane):
                self.entered.append(name)
                await self._leave[name].wait()
        except Overloaded:
            self.refused.append(name)


async def test_interactive_questions_go_before_batch_ones() -> None:
    crowd = Crowd(AdmissionQueue(1, AdmissionSettings()))
    await crowd.comes("first")
    await crowd.comes("batch", batch=True)
    await crowd.comes("person")
    await crowd.leaves("first")
    await crowd.leaves("person")
    await crowd.leaves("batch")
    assert crowd.entered == ["first", "person", "batch"]


async def test_batch_work_never_holds_every_place() -> None:
    crowd = Crowd(AdmissionQueue(4, AdmissionSettings(batch_share=0.5)))
    for number in range(4):
        await crowd.comes(f"batch {number}", batch=True)
    await crowd.comes("person")
    assert crowd.entered == ["batch 0", "batch 1", "person"]
    for name in ("person", "batch 0", "batch 1", "batch 2", "batch 3"):
        await crowd.leaves(name)


async def test_a_tenant_s_flood_delays_only_itself() -> None:
    crowd = Crowd(AdmissionQueue(2, AdmissionSettings()))
    for number in range(6):
        await crowd.comes(f"flood {number}", "noisy")
    await crowd.comes("guest", "quiet")
    await crowd.leaves("flood 0")
    assert crowd.entered == ["flood 0", "flood 1", "guest"]
    for name in ("flood 1", "guest", "flood 2", "flood 3", "flood 4", "flood 5"):
        await crowd.leaves(name)


async def test_when_the_queue_is_full_the_flood_makes_room_for_the_guest() -> None:
    crowd = Crowd(AdmissionQueue(1, AdmissionSettings(max_waiting=2)))
    for number in range(4):
        await crowd.comes(f"flood {number}", "noisy")
    assert crowd.refused == ["flood 3"]
    await crowd.comes("guest", "quiet")
    assert crowd.refused == ["flood 3", "flood 2"]
    for name in ("flood 0", "guest", "flood 1"):
        await crowd.leaves(name)
    assert crowd.entered == ["flood 0", "guest", "flood 1"]


async def test_a_refusal_says_when_to_come_back() -> None:
    queue = AdmissionQueue(1, AdmissionSettings(max_waiting=0))
    async with queue.place(context(), SMALL):
        with pytest.raises(Overloaded) as refused:
            async with queue.place(context(), SMALL):
                pass
    assert refused.value.retry_after_s == 1
    queue._lane(SMALL).seconds = 7.2  # noqa: SLF001  what questions took lately
    async with queue.place(context(), SMALL):
        with pytest.raises(Overloaded) as refused:
            queue.check(context(), SMALL)
    assert refused.value.retry_after_s == 8


async def test_who_waits_too_long_is_refused_and_who_leaves_gives_its_place_back() -> None:
    queue = AdmissionQueue(1, AdmissionSettings(max_wait_ms=50))
    crowd = Crowd(queue)
    await crowd.comes("first")
    await crowd.comes("late")
    await crowd.comes("gone")
    await crowd.gives_up("gone")
    await asyncio.sleep(0.1)
    assert crowd.refused == ["late"]
    await crowd.leaves("first")
    assert (queue.held, queue.waiting) == (0, 0)


async def test_late_answers_lower_the_limit_and_timely_ones_raise_it() -> None:
    queue = AdmissionQueue(10, AdmissionSettings())
    async with queue.place(context(seconds=0.05), SMALL):
        await asyncio.sleep(0.05)
    assert limit_of(queue, SMALL) == 8
    for _ in range(20):
        async with queue.place(context(), SMALL):
            pass
    assert limit_of(queue, SMALL) == 10


async def test_a_thousand_that_leave_at_any_moment_leave_nothing_behind() -> None:
    queue = AdmissionQueue(4, AdmissionSettings())
    crowd = Crowd(queue)
    for number in range(1000):
        name = str(number)
        await crowd.comes(name, f"tenant {number % 5}", batch=number % 3 == 0)
        if number % 2:
            await crowd.gives_up(str(number - 1))
            await crowd.gives_up(name)
    assert (queue.held, queue.waiting) == (0, 0)


async def test_a_stage_that_answers_late_lowers_its_own_limit_only() -> None:
    queue = AdmissionQueue(10, AdmissionSettings())
    for lane, takes_s in ((LARGE, 0.05), (SMALL, 0.0)):
        async with queue.place(context(seconds=0.05), lane):
            await asyncio.sleep(takes_s)
    assert (limit_of(queue, LARGE), limit_of(queue, SMALL)) == (8, 10)


async def test_a_stage_that_hangs_leaves_the_others_their_share_of_places_and_queue() -> None:
    crowd = Crowd(AdmissionQueue(4, AdmissionSettings(max_waiting=2)))
    for number in range(7):
        await crowd.comes(f"large {number}", lane=LARGE)
    assert crowd.entered == [f"large {number}" for number in range(4)]
    assert crowd.refused == ["large 6"], "two wait"
    for number in range(5):
        await crowd.comes(f"small {number}", "b")
    assert crowd.entered[4:] == ["small 0", "small 1"], "two of four, for there are two stages"
    assert crowd.refused == ["large 6", "small 4"], "two wait, in a queue of their own"
    await crowd.leaves("small 0")
    assert crowd.entered[-1] == "small 2"
    for name in ("large 0", "large 1", "large 2", "large 3", "small 1", "small 2"):
        await crowd.leaves(name)
    for name in ("large 4", "large 5", "small 3"):
        await crowd.leaves(name)


async def test_all_stages_together_pass_the_places_at_most_once() -> None:
    queue = AdmissionQueue(6, AdmissionSettings(max_waiting=100))
    crowd = Crowd(queue)
    names = [f"{lane} {number}" for lane in range(20) for number in range(6)]
    for name in names:
        await crowd.comes(name, lane=name.split()[0])
    assert queue.held <= 12
    for name in names:
        await crowd.gives_up(name)
    assert (queue.held, queue.waiting) == (0, 0)


async def test_batch_work_of_all_stages_leaves_places_to_people() -> None:
    crowd = Crowd(AdmissionQueue(4, AdmissionSettings(batch_share=0.5)))
    for lane in (SMALL, LARGE):
        for number in range(2):
            await crowd.comes(f"{lane} {number}", batch=True, lane=lane)
    await crowd.comes("person")
    assert crowd.entered == ["small 0", "small 1", "person"]
    for name in ("person", "small 0", "small 1", "large 0", "large 1"):
        await crowd.leaves(name)
