"""Reports to `/metrics` how saturated the entry service is. `tiffin.gateway` runs it.

It looks once a second instead of at each change, so that no request pays for it.
"""

import asyncio
from collections.abc import Mapping

from tiffin.telemetry import metrics
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.limiter import Limiter

ALL = "all"
"""The label of all lanes together; a lane has its own name, calls that of the service."""

EVERY_S = 1.0


async def watch(queue: AdmissionQueue, calls: Mapping[str, Limiter]) -> None:
    """Report until cancelled. `calls` bounds the calls of each service, by its name."""
    while True:
        show(queue, calls)
        await asyncio.sleep(EVERY_S)


def show(queue: AdmissionQueue, calls: Mapping[str, Limiter]) -> None:
    """Set the gauges to the present state."""
    _lane(ALL, queue.places, queue.held)
    for lane, (limit, held) in queue.lanes().items():
        _lane(lane, limit, held)
    for service, limiter in calls.items():
        _lane(service, limiter.limit, limiter.in_flight)
    for priority, batch in (("interactive", False), ("batch", True)):
        metrics.admission_waiting.labels(priority).set(queue.waiting_of(batch=batch))


def _lane(lane: str, limit: int, held: int) -> None:
    metrics.admission_limit.labels(lane).set(limit)
    metrics.admission_in_progress.labels(lane).set(held)
