"""`tiffin bench` counts what callers saw: whole answers, refusals, streams that broke off."""

import asyncio
import json
import time
from collections.abc import Callable

import httpx2
import pytest

from tiffin.cli.bench import KINDS, Wanted, _found
from tiffin.cli.load import Outcome, makers, send

DELTA = 'data: {"object": "rag.delta", "text": "1850."}\n\n'
FINAL = 'data: {"object": "rag.answer", "timings": {"rerank_ms": 40.0}}\n\n'
DONE = "data: [DONE]\n\n"


def seen(kind: str, respond: Callable[[httpx2.Request], httpx2.Response]) -> Outcome:
    async def once() -> Outcome:
        transport = httpx2.MockTransport(respond)
        async with httpx2.AsyncClient(base_url="http://tiffin", transport=transport) as client:
            return await send(client, makers(())[kind](1), time.perf_counter())

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("status", "text", "end"),
    [
        (200, DELTA + DELTA + FINAL + DONE, "ok"),
        (200, DELTA, "broken off"),
        (200, DELTA + 'data: {"error": {"message": "late"}}\n\n' + DONE, "error"),
        (429, "{}", "refused"),
        (503, "{}", "refused"),
        (400, "{}", "status 400"),
    ],
)
def test_a_stream_counts_as_answered_only_if_it_came_whole(
    status: int, text: str, end: str
) -> None:
    outcome = seen("question", lambda _: httpx2.Response(status, text=text))
    assert outcome.end == end
    if end == "ok":
        assert outcome.first_s is not None
        assert (len(outcome.gaps_s), outcome.stages_ms) == (1, {"rerank_ms": 40.0})


def test_no_two_requests_are_the_same_but_repeats() -> None:
    for kind, make in makers(()).items():
        same = make(1) == make(2)
        assert same is (kind == "repeat"), kind
        json.dumps(make(1).body)
    assert list(makers(())) == list(KINDS)


def test_an_answer_too_late_for_the_service_level_is_sent_but_not_good() -> None:
    late = Outcome("question", "ok", total_s=3.0, first_s=2.5)
    soon = Outcome("question", "ok", total_s=3.0, first_s=1.0)
    found = _found([late, soon, Outcome("rerank", "refused")], 2.0, Wanted(2.0, 10.0))
    assert (found["sent_per_s"], found["good_per_s"]) == (1.5, 0.5)
    assert found["ended"] == {"ok": 2, "refused": 1}
    assert found["kinds"]["question"]["first_p50_ms"] == 1750.0
