"""Tenants that ask the same things at the same time."""

import asyncio
import random
from collections.abc import AsyncGenerator
from functools import partial

from models.values import ChatMessage, Finished, GenerateRequest, TextDelta, TokenUsage
from tiffin.cache.answers import AnswerCache
from tiffin.cache.store import MemoryStore
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.pipeline.replay import Replay
from tiffin.pipeline.writing import Head, Piece

USED = TokenUsage(prompt_tokens=1, completion_tokens=1)
REQUESTS = 10_000


async def test_ten_thousand_interleaved_requests_of_two_tenants_never_cross() -> None:
    draw = random.Random(7)  # noqa: S311
    replay = Replay(AnswerCache(MemoryStore(50_000), 60), b"mark")
    computed: set[tuple[str, str]] = set()

    async def answer(tenant: str, question: str) -> AsyncGenerator[Head | Piece, None]:
        computed.add((tenant, question))
        await asyncio.sleep(0)
        yield Head("small", "model")
        yield Piece(0, TextDelta(f"{tenant} {question}"))
        await asyncio.sleep(0)
        yield Piece(0, Finished("stop", USED))

    async def ask(tenant: str, question: str) -> str:
        context = RequestContext(Deadline.after(60), tenant=tenant)
        requests = [GenerateRequest(messages=[ChatMessage("user", question)])]
        compute = partial(answer, tenant, question)
        events = replay.write("small", requests, context, compute, wanted=None, whole=True)
        pieces = [event.event async for event in events if isinstance(event, Piece)]
        return "".join(event.text for event in pieces if isinstance(event, TextDelta))

    asked = [(draw.choice("ab"), f"question {draw.randrange(40)}") for _ in range(REQUESTS)]
    for start in range(0, REQUESTS, 50):
        batch = asked[start : start + 50]
        said = await asyncio.gather(*(ask(*one) for one in batch))
        assert said == [" ".join(one) for one in batch]
    assert computed == set(asked), "what one tenant asked is computed for the other, too"
