"""Load that is within what it can do, and load that is not."""

import time
from collections.abc import AsyncGenerator

from tests.chaos.load import Shot, capacity, fire, kinds, question, reasons, tally
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import CONCURRENCY, Stand


def mixed(number: int) -> Shot:
    """Half streams, and the operator's routes among the questions."""
    if number % 10 == 0:
        return Shot(("/readyz", "/version")[number // 10 % 2])
    return question(number, stream=number % 2 == 0)


async def load_and_overload(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """60 % of capacity, then more than there is."""
    peak = await capacity(stand.url, size.seconds, question, CONCURRENCY)
    calm = await fire(stand.url, 0.6 * peak, size.seconds, mixed)
    failed = len(calm) - len(kinds(calm, "ok"))
    took_ms = [outcome.took_s * 1000 for outcome in calm]
    yield Row(
        "load at 60 % of capacity, mixed endpoints, half streams",
        "0 failed",
        f"{len(calm)} requests at {0.6 * peak:.0f}/s: {tally(calm)}; "
        f"p50 {percentile(took_ms, 0.5):.0f} ms, p99 {percentile(took_ms, 0.99):.0f} ms"
        f"{reasons(calm) and f' ({reasons(calm)})'}",
        misses(none_failed=failed == 0),
    )
    for factor, share in ((2, 0.95), (5, 0.9), (10, 0.9)):
        yield await _overload(stand, size, peak, factor, share)


async def _overload(stand: Stand, size: Size, peak: float, factor: int, share: float) -> Row:
    outcomes = await fire(stand.url, factor * peak, size.seconds, question)
    good, refused = kinds(outcomes, "ok"), kinds(outcomes, "refused")
    goodput = len(good) / (max(o.at_s + o.took_s for o in outcomes) - outcomes[0].at_s)
    refusal_ms = percentile([o.took_s * 1000 for o in refused], 0.99)
    lag_ms = percentile([o.lag_s * 1000 for o in refused], 0.99)
    began = time.monotonic()
    while (await fire(stand.url, 2, 1, question))[-1].took_s > 1 and time.monotonic() < began + 30:
        pass
    back_s = time.monotonic() - began
    return Row(
        f"overload {factor}x",
        f"goodput >= {share:.0%} of peak; refusals 429/503 with Retry-After, p99 <= 50 ms; "
        "back to baseline in 5 s",
        f"{tally(outcomes)}; goodput {goodput / peak:.0%} of {peak:.0f}/s; "
        f"refusals p99 {refusal_ms:.0f} ms (the generator's own lag: {lag_ms:.0f} ms); "
        f"back after {back_s:.1f} s",
        misses(
            goodput=goodput >= share * peak,
            refusals_typed=len(good) + len(refused) == len(outcomes),
            retry_after=all(o.retry_after for o in refused),
            refusal_time=refusal_ms <= 50,
            back=back_s <= 5,
        ),
    )
