"""Reports to `/metrics` how saturated the entry service is. `tiffin.gateway` runs it.

It looks once a second instead of at each change, so that no request pays for it.
"""

import asyncio

from tiffin.telemetry import metrics
from tiffin.traffic.admission import AdmissionQueue

ALL = "all"
"""The label of all lanes together."""

EVERY_S = 1.0


async def watch(queue: AdmissionQueue) -> None:
    """Report until cancelled."""
    while True:
        show(queue)
        await asyncio.sleep(EVERY_S)


def show(queue: AdmissionQueue) -> None:
    """Set the gauges to the present state."""
    _lane(ALL, queue.places, queue.held)
    for lane, (limit, held) in queue.lanes().items():
        _lane(lane, limit, held)
    for priority, batch in (("interactive", False), ("batch", True)):
        metrics.admission_waiting.labels(priority).set(queue.waiting_of(batch=batch))


def _lane(lane: str, limit: int, held: int) -> None:
    metrics.admission_limit.labels(lane).set(limit)
    metrics.admission_in_progress.labels(lane).set(held)
