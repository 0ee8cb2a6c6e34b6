"""Who comes in at the door, who waits and who is sent away."""

import asyncio

import pytest

from tiffin.context import Deadline, RequestContext
from tiffin.errors import Overloaded
from tiffin.ops.resilience import AdmissionSettings
from tiffin.ops.turnstile import Turnstile


def context(tenant: str = "a", *, batch: bool = False, seconds: float = 5) -> RequestContext:
    return RequestContext(Deadline.after(seconds), tenant=tenant, batch=batch)


class Crowd:
    """Questions that hold their place until told to leave."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.turnstile = turnstile
        self.entered: list[str] = []
        self.refused: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, name: str, tenant: str = "a", *, batch: bool = False) -> None:
        self._leave[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, context(tenant, batch=batch)))
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

    async def _stay(self, name: str, context: RequestContext) -> None:
        try:
            async with self.turnstile.place(context):
                self.entered.append(name)
                await self._leave[name].wait()
        except Overloaded:
            self.refused.append(name)


async def test_interactive_questions_go_before_batch_ones() -> None:
    crowd = Crowd(Turnstile(1, AdmissionSettings()))
    await crowd.comes("first")
    await crowd.comes("batch", batch=True)
    await crowd.comes("person")
    await crowd.leaves("first")
    await crowd.leaves("person")
    await crowd.leaves("batch")
    assert crowd.entered == ["first", "person", "batch"]


async def test_batch_work_never_holds_every_place() -> None:
    crowd = Crowd(Turnstile(4, AdmissionSettings(batch_share=0.5)))
    for number in range(4):
        await crowd.comes(f"batch {number}", batch=True)
    await crowd.comes("person")
    assert crowd.entered == ["batch 0", "batch 1", "person"]
    for name in ("person", "batch 0", "batch 1", "batch 2", "batch 3"):
        await crowd.leaves(name)


async def test_a_tenant_s_flood_delays_only_itself() -> None:
    crowd = Crowd(Turnstile(2, AdmissionSettings()))
    for number in range(6):
        await crowd.comes(f"flood {number}", "noisy")
    await crowd.comes("guest", "quiet")
    await crowd.leaves("flood 0")
    assert crowd.entered == ["flood 0", "flood 1", "guest"]
    for name in ("flood 1", "guest", "flood 2", "flood 3", "flood 4", "flood 5"):
        await crowd.leaves(name)


async def test_when_the_queue_is_full_the_flood_makes_room_for_the_guest() -> None:
    crowd = Crowd(Turnstile(1, AdmissionSettings(max_waiting=2)))
    for number in range(4):
        await crowd.comes(f"flood {number}", "noisy")
    assert crowd.refused == ["flood 3"]
    await crowd.comes("guest", "quiet")
    assert crowd.refused == ["flood 3", "flood 2"]
    for name in ("flood 0", "guest", "flood 1"):
        await crowd.leaves(name)
    assert crowd.entered == ["flood 0", "guest", "flood 1"]


async def test_a_refusal_says_when_to_come_back() -> None:
    turnstile = Turnstile(1, AdmissionSettings(max_waiting=0))
    async with turnstile.place(context()):
        with pytest.raises(Overloaded) as refused:
            async with turnstile.place(context()):
                pass
    assert refused.value.retry_after_s == 1
    turnstile._seconds = 7.2  # noqa: SLF001  what questions took of late
    async with turnstile.place(context()):
        assert turnstile.retry_after_s() == 8


async def test_who_waits_too_long_is_refused_and_who_leaves_gives_its_place_back() -> None:
    turnstile = Turnstile(1, AdmissionSettings(max_wait_ms=50))
    crowd = Crowd(turnstile)
    await crowd.comes("first")
    await crowd.comes("late")
    await crowd.comes("gone")
    await crowd.gives_up("gone")
    await asyncio.sleep(0.1)
    assert crowd.refused == ["late"]
    await crowd.leaves("first")
    assert (turnstile.held, turnstile.waiting) == (0, 0)


async def test_late_answers_lower_the_limit_and_timely_ones_raise_it() -> None:
    turnstile = Turnstile(10, AdmissionSettings())
    async with turnstile.place(context(seconds=0.05)):
        await asyncio.sleep(0.05)
    assert turnstile.limit == 8
    for _ in range(20):
        async with turnstile.place(context()):
            pass
    assert turnstile.limit == 10


async def test_a_thousand_that_leave_at_any_moment_leave_nothing_behind() -> None:
    turnstile = Turnstile(4, AdmissionSettings())
    crowd = Crowd(turnstile)
    for number in range(1000):
        name = str(number)
        await crowd.comes(name, f"tenant {number % 5}", batch=number % 3 == 0)
        if number % 2:
            await crowd.gives_up(str(number - 1))
            await crowd.gives_up(name)
    assert (turnstile.held, turnstile.waiting) == (0, 0)
