"""Tells `/metrics` how full the entry service is. Run by `services/rag.py` while it serves.

It looks once a second instead of at each change, so that no request pays for it.
"""

import asyncio
from collections.abc import Mapping

from tiffin.telemetry import metrics
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.limiter import Limiter

DOOR = "door"
"""What every request passes; the stages are named as at the door, or after the services."""

EVERY_S = 1.0


async def watch(door: AdmissionQueue, calls: Mapping[str, Limiter]) -> None:
    """Show it until cancelled. `calls` bounds the calls to each service, by its name."""
    while True:
        show(door, calls)
        await asyncio.sleep(EVERY_S)


def show(door: AdmissionQueue, calls: Mapping[str, Limiter]) -> None:
    """Set the gauges to what holds now."""
    _stage(DOOR, door.places, door.held)
    for stage, (limit, in_work) in door.stages().items():
        _stage(stage, limit, in_work)
    for service, limiter in calls.items():
        _stage(service, limiter.limit, limiter.in_flight)
    for priority, batch in (("interactive", False), ("batch", True)):
        metrics.admission_waiting.labels(priority).set(door.waiting_of(batch=batch))


def _stage(stage: str, limit: int, in_work: int) -> None:
    metrics.admission_limit.labels(stage).set(limit)
    metrics.admission_in_work.labels(stage).set(in_work)
