"""An OpenAI-compatible server behind the tier `large` that refuses, breaks, hangs or drips.

Half of the questions leave the choice to the Router (`auto-quality`), which has the small tier as a
way out; the others name the tier, which has none. The provider counts what it was asked.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from tests.chaos.load import Outcome, Shot, fire
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import BREAKER_S, GRACE_S, Guarded
from tests.support.providers import Step
from tiffin.api.sse import HEAD_AFTER_S

RATE_PER_S = 5.0
TIMEOUT_S = 3
RETRY_AFTER_S = 2
RETRY_SHARE = 0.1
DRIP_S = 0.8
"""Below the gap that a stream may have, and too slow for the deadline."""

SHAPES = (("auto-quality", False), ("auto-quality", True), ("large", False), ("large", True))
"""Model and whether it streams, by turns."""


@dataclass(frozen=True)
class Fault:
    """What the provider does; `step` None: nobody listens.

    `named` are the statuses of a question that names the tier, unless the head of its stream had to
    leave before: then a typed error says it. None where the provider begins to
    answer, so that no one may take its place: what it wrote by the deadline is the answer, and a
    stream that waits too long for more ends in a typed error.
    """

    name: str
    step: Step | None
    named: frozenset[int] | None


FAULTS = (
    Fault("429", Step(429, {"retry-after": str(RETRY_AFTER_S)}), frozenset({429, 503})),
    Fault("500", Step(500), frozenset({500})),
    Fault("refuses connections", None, frozenset({503})),
    Fault("hangs", Step(fault="hang"), frozenset({504})),
    Fault("stops in mid-stream", Step(fault="half-open"), None),
    Fault("drips", Step(drip_s=DRIP_S), None),
)


@dataclass
class Tries:
    """Requests and retries since the entry service started: the budget is over all of them."""

    asked: int = 0
    retried: int = 0


async def bad_upstreams(stand: Guarded, size: Size) -> AsyncGenerator[Row, None]:
    """Each fault in turn, with time between them for the breaker to close."""
    await stand.restart_entry()  # whose retry budget nobody has saved up in
    key = stand.keys.create("providers")
    numbers, tries = itertools.count(), Tries()
    for fault in FAULTS:
        shots = [_shot(key, next(numbers)) for _ in range(int(RATE_PER_S * size.seconds))]
        await _break(stand, fault)
        before = await _small(stand)
        outcomes = await fire(stand.url, RATE_PER_S, size.seconds, shots.__getitem__)
        yield _row(fault, shots, outcomes, stand, await _small(stand) - before, tries)
        await _mend(stand, fault)
    stand.keys.revoke("providers")


def _shot(key: str, number: int) -> Shot:
    model, stream = SHAPES[number % len(SHAPES)]
    content = f"Prove that {number} * 7 = {number * 7}, and compare both proofs step by step."
    body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
    headers = {"authorization": f"Bearer {key}", "x-request-timeout-ms": str(TIMEOUT_S * 1000)}
    return Shot("/v1/chat/completions", body, tuple(headers.items()))


async def _small(stand: Guarded) -> int:
    """What the small tier was asked so far."""
    return int((await stand.state())["calls"].get("generate", 0))


async def _break(stand: Guarded, fault: Fault) -> None:
    stand.provider.forget()
    if fault.step is None:
        await stand.front.stop()
    else:
        stand.provider.script = [fault.step]


async def _mend(stand: Guarded, fault: Fault) -> None:
    if fault.step is None:
        await stand.front.start()
    stand.provider.script = [Step()]
    await asyncio.sleep(BREAKER_S + 0.5)


def _row(
    fault: Fault,
    shots: list[Shot],
    outcomes: list[Outcome],
    stand: Guarded,
    small: int,
    tries: Tries,
) -> Row:
    pairs = list(zip(shots, outcomes, strict=True))
    wrong = [outcome for shot, outcome in pairs if not _is_right(fault, shot, outcome)]
    saved = sum(outcome.tier == "small" for outcome in outcomes)
    asked = Counter(request["messages"][-1]["content"] for request in stand.provider.requests)
    retried = sum(count - 1 for count in asked.values())
    tries.asked += len(shots)
    tries.retried += retried
    times = stand.provider.times
    told = fault.step is not None and "retry-after" in fault.step.headers
    gap_s = min((late - soon for soon, late in itertools.pairwise(times)), default=9.9)
    slow_s = max(outcome.took_s for outcome in outcomes)
    refused = [o for o in outcomes if o.status in {429, 503}]
    example = f" (wrong: {wrong[0].status} {wrong[0].end} {wrong[0].detail[:80]})" if wrong else ""
    return Row(
        f"provider LLM: {fault.name}",
        "another tier answers before the first byte, none after it, and what was written by the "
        "deadline is the answer; named: the right status, or a "
        f"typed end; <= 1 retry, for 10 %; Retry-After obeyed; inside {TIMEOUT_S} s + 250 ms",
        f"{_shown(pairs)}; the provider was asked {len(times)} times, {retried} of them retries"
        f"{f', {gap_s:.1f} s apart' if told and len(times) > 1 else ''}; "
        f"slowest {slow_s:.2f} s{example.replace('|', '/')}",
        misses(
            status=not wrong,
            failover=small == saved,
            one_retry=max(asked.values(), default=0) <= 2,
            retry_budget=tries.retried <= 1 + RETRY_SHARE * tries.asked,
            retry_after=all(o.retry_after for o in refused)
            and (not told or gap_s >= RETRY_AFTER_S - 0.05),
            deadline=slow_s <= TIMEOUT_S + GRACE_S,
        ),
    )


def _is_right(fault: Fault, shot: Shot, outcome: Outcome) -> bool:
    if fault.named is None:  # it has begun, whoever chose it: what it wrote by the deadline counts
        ends = {"ok", "error"} if shot.stream else {"ok"}
        return (outcome.status, outcome.tier) == (200, "large") and outcome.end in ends
    if shot.body is not None and shot.body["model"] == "large":
        if shot.stream and outcome.took_s >= HEAD_AFTER_S:  # its head had to leave before
            return (outcome.status, outcome.end) == (200, "error")
        return outcome.status in fault.named and outcome.end != "broken"
    return (outcome.status, outcome.end, outcome.tier) == (200, "ok", "small")


def _shown(pairs: list[tuple[Shot, Outcome]]) -> str:
    """`auto-quality 20x 200 by small; large 12x 503, 8x 429`."""
    counts: dict[str, Counter[str]] = {}
    for shot, outcome in pairs:
        ended = f" and an error ({outcome.tier})" if outcome.end == "error" else ""
        end = f" by {outcome.tier}" if outcome.end == "ok" else ended * (outcome.status == 200)
        model = shot.body["model"] if shot.body else ""
        counts.setdefault(model, Counter())[f"{outcome.status}{end}"] += 1
    return "; ".join(
        f"{model}: {', '.join(f'{n}x {what}' for what, n in its.most_common())}"
        for model, its in counts.items()
    )
