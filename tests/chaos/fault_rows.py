"""Broken connections between the services."""

from collections.abc import AsyncGenerator

from tests.chaos.load import Outcome, fire, question, tally
from tests.chaos.proxy import Fault
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import DEADLINE_S, GRACE_S, Stand


async def broken_hops(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """Every fault on every hop at once."""
    faults: tuple[Fault, ...] = ("latency", "slice", "flip", "reset", "blackhole")
    for fault in faults:
        stand.break_all(fault)
        outcomes = await fire(stand.url, 5, size.seconds, lambda n: question(n, stream=n % 2 == 0))
        stand.break_all("none")
        await stand.wait_ready()
        yield _fault_row(f"all hops: {fault}", outcomes)


async def broken_llm(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """An LLM that refuses, hangs, stops in mid-stream, or drips."""
    proxy = stand.proxies["SmallLLM"]
    faults: tuple[Fault, ...] = ("blackhole", "half-open", "drip", "reset")
    for fault in faults:
        proxy.fault = fault
        outcomes = await fire(stand.url, 5, size.seconds, question)
        proxy.fault = "none"
        await stand.wait_ready()
        yield _fault_row(f"LLM: {fault}", outcomes)
    await proxy.stop()
    outcomes = await fire(stand.url, 5, size.seconds, question)
    await proxy.start()
    await stand.wait_ready()
    yield _fault_row("LLM: refuses connections", outcomes)


def _fault_row(test: str, outcomes: list[Outcome]) -> Row:
    broken = [o for o in outcomes if o.end == "broken" or (o.end == "error" and o.status == 500)]
    slow_s = max(o.took_s for o in outcomes)
    degraded = sorted({what for o in outcomes for what in o.degraded})
    example = f" ({broken[0].status} {broken[0].detail[:80]})" if broken else ""
    return Row(
        test,
        "an answer (perhaps degraded) or a typed refusal, never a 500 or a broken body; "
        "inside the deadline + 250 ms",
        f"{tally(outcomes)}; degraded: {', '.join(degraded) or 'nothing'}; "
        f"slowest {slow_s:.2f} s{example.replace('|', '/')}",
        misses(typed=not broken, in_time=slow_s <= DEADLINE_S + GRACE_S),
    )
