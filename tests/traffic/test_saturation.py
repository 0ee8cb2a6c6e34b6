"""What `/metrics` says of the admission queue, and that the docs name it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prometheus_client import REGISTRY

from tests.support.soon import SOON_S
from tiffin.config.resilience import AdmissionSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.telemetry import metrics
from tiffin.traffic import saturation
from tiffin.traffic.admission import AdmissionQueue

DOCS = Path(__file__).parents[2] / "docs" / "when-things-fail.md"
GAUGES = (metrics.admission_limit, metrics.admission_in_progress, metrics.admission_waiting)


def told(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"tiffin_admission_{name}", labels)


@asynccontextmanager
async def waiting(queue: AdmissionQueue, *, batch: bool) -> AsyncGenerator[None, None]:
    """Someone who waits in the queue during the block."""
    context = RequestContext(Deadline.after(5), batch=batch)
    task = asyncio.create_task(queue.place(context, "small").__aenter__())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_full_queue_shows_its_limit_its_places_and_who_waits() -> None:
    queue = AdmissionQueue(2, AdmissionSettings())
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(queue.place(RequestContext(Deadline.after(5)), "small"))
        for batch in (False, True, True):
            await stack.enter_async_context(waiting(queue, batch=batch))
        saturation.show(queue)
        assert (told("limit", lane="all"), told("in_progress", lane="all")) == (2, 2)
        assert (told("limit", lane="small"), told("in_progress", lane="small")) == (2, 2)
        assert told("waiting", priority="interactive") == 1
        assert told("waiting", priority="batch") == 2
    saturation.show(queue)
    assert (told("in_progress", lane="all"), told("waiting", priority="batch")) == (0, 0)


async def test_it_looks_again_by_itself() -> None:
    queue = AdmissionQueue(7, AdmissionSettings())
    watching = asyncio.create_task(saturation.watch(queue))
    async with asyncio.timeout(SOON_S):
        while told("limit", lane="all") != 7:
            await asyncio.sleep(0.01)
    watching.cancel()


def test_the_docs_name_every_gauge_and_its_label() -> None:
    text = DOCS.read_text()
    saturation.show(AdmissionQueue(1, AdmissionSettings()))
    for gauge in GAUGES:
        (family,) = gauge.collect()
        (label,) = {name for sample in family.samples for name in sample.labels}
        assert f"`{family.name}{{{label}}}`" in text
