"""A tier that nobody asks sleeps; a question wakes it; none is lost in between."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from models.engines.idle import IdleEngine
from models.values import (
    ChatMessage,
    EngineHealth,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenUsage,
    Tool,
)

REQUEST = GenerateRequest(messages=[ChatMessage("user", "Hello")], max_tokens=2)


class FakeSleeper:
    """Answers only while it is awake, and takes its time to turn."""

    context_tokens = 64

    def __init__(self) -> None:
        self.awake = True
        self.turns: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def start(self) -> None:
        self.turns.append("start")

    async def generate(self, _: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        assert self.awake
        yield TextDelta("Hi")
        await self.go_on.wait()
        assert self.awake
        yield Finished("stop", TokenUsage(prompt_tokens=1, completion_tokens=1))

    async def count_tokens(self, messages: Sequence[ChatMessage], _: Sequence[Tool] = ()) -> int:
        return len(messages)

    async def health(self) -> EngineHealth:
        return EngineHealth(ready=True)

    async def close(self) -> None:
        self.turns.append("close")

    async def sleep(self) -> None:
        self.awake = False
        await asyncio.sleep(0.02)
        self.turns.append("sleep")

    async def wake(self) -> None:
        await asyncio.sleep(0.02)
        self.awake = True
        self.turns.append("wake")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def ask(engine: IdleEngine) -> int:
    return len([event async for event in engine.generate(REQUEST)])


async def test_it_sleeps_when_nobody_asks_and_wakes_for_a_question() -> None:
    inner = FakeSleeper()
    engine = IdleEngine(inner, after_s=0.05)
    await engine.start()
    await until(lambda: engine.asleep)
    assert (await engine.health()).ready
    assert await ask(engine) == 2
    await engine.close()
    assert inner.turns[:3] == ["start", "sleep", "wake"]


async def test_a_long_answer_is_not_put_to_sleep() -> None:
    inner = FakeSleeper()
    engine = IdleEngine(inner, after_s=0.04)
    await engine.start()
    inner.go_on.clear()
    async with aclosing(engine.generate(REQUEST)) as events:
        await anext(events)
        await asyncio.sleep(0.2)
        assert not engine.asleep
        inner.go_on.set()
        assert isinstance(await anext(events), Finished)
    await until(lambda: engine.asleep)
    await engine.close()


async def test_questions_that_come_while_it_turns_wait_and_wake_it_once() -> None:
    inner = FakeSleeper()
    engine = IdleEngine(inner, after_s=0.05)
    await engine.start()
    await until(lambda: not inner.awake)  # it is falling asleep right now
    assert await asyncio.gather(*(ask(engine) for _ in range(8))) == [2] * 8
    await engine.close()
    assert inner.turns.count("wake") == 1
