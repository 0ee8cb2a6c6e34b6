"""Runs the tests one after another. One that fails is a row that says so, and the next one runs."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import TypeVar

from tests.chaos import (
    access_rows,
    batch_rows,
    cache_rows,
    certificate_rows,
    client_rows,
    corpus_rows,
    end_rows,
    fault_rows,
    load_rows,
    machine_rows,
    provider_rows,
    safety_rows,
    slow_rows,
    stack_rows,
    storage_rows,
    tenant_rows,
)
from tests.chaos.report import Report
from tests.chaos.row import Row
from tests.chaos.size import Size
from tests.chaos.stand import Guarded, Stand, running_guarded, running_stand
from tests.support.stack import WRITING, running_stack

AnyStand = TypeVar("AnyStand", bound=Stand)
Tests = Mapping[str, Callable[[AnyStand, Size], AsyncGenerator[Row, None]]]

ON_STAND: Tests[Stand] = {
    "load": load_rows.load_and_overload,
    "hops": fault_rows.broken_hops,
    "llm": fault_rows.broken_llm,
    "slow": slow_rows.slow_clients,
    "disconnects": client_rows.disconnects,
    "oversize": client_rows.oversize,
    "cache": cache_rows.sick_servers,
    "safety": safety_rows.sick_safety,
    "disk": storage_rows.full_disk,
    "stores": storage_rows.stores_away,
    "corpora": corpus_rows.many_corpora,
    "stacks": machine_rows.two_stacks,
    "clock": machine_rows.clock_jumps,
    "sigterm": end_rows.sigterm,
    "soak": end_rows.soak,
}
ON_GUARDED: Tests[Guarded] = {
    "auth": access_rows.every_route,
    "batch": batch_rows.bad_items,
    "tenants": tenant_rows.apart,
    "providers": provider_rows.bad_upstreams,
    "certificate": certificate_rows.expired,
}
KILLS = "kills"
NAMES = (*ON_STAND, *ON_GUARDED, KILLS)
SELDOM = frozenset({"disk", "stores", "corpora", "stacks", "clock", "certificate"})
"""Left out of the short run: they take minutes, need a package or a right, and rarely break."""

LIMIT_S = 1800
"""For a test beyond the soak: one that hangs may not keep the others from running."""


async def run(names: Sequence[str], size: Size, report: Report) -> None:
    """The tests named, in the order of the table."""
    with tempfile.TemporaryDirectory(prefix="tiffin-chaos-") as directory:
        folder = Path(directory)
        await _on_stands(running_stand, ON_STAND, names, size, folder, report)
        await _on_stands(running_guarded, ON_GUARDED, names, size, folder, report)
        if KILLS in names:
            await _attempt(KILLS, _kills(folder, size, report), size, report)


async def _on_stands(
    start: Callable[[Path], AbstractAsyncContextManager[AnyStand]],
    tests: Tests[AnyStand],
    names: Sequence[str],
    size: Size,
    folder: Path,
    report: Report,
) -> None:
    """All on one stand; after a failure on a new one, for what it left behind is not known."""
    left = [name for name in tests if name in names]
    while left:
        home = Path(tempfile.mkdtemp(dir=folder))
        try:
            async with start(home) as stand:
                while left and await _attempt(
                    left[0], tests[left.pop(0)](stand, size), size, report
                ):
                    pass
        except Exception as error:  # noqa: BLE001  it is a row, and the next test runs
            name = left.pop(0) if left else "the end of the stand"
            report.add(_failed(name, error))


async def _attempt(name: str, rows: AsyncGenerator[Row, None], size: Size, report: Report) -> bool:
    """Whether it ran to its end."""
    report.say(f"{name} ...")
    try:
        async with asyncio.timeout(LIMIT_S + size.soak_s), aclosing(rows):
            async for row in rows:
                report.add(row)
    except Exception as error:  # noqa: BLE001  it is a row, and the next test runs
        report.add(_failed(name, error))
        return False
    return True


def _failed(name: str, error: Exception) -> Row:
    what = f"{type(error).__name__}: {error}".replace("|", "/").replace("\n", " ")
    return Row(name, "it runs", f"it failed: {what[:300]}", ("it did not run to its end",))


async def _kills(folder: Path, size: Size, report: Report) -> AsyncGenerator[Row, None]:
    home = Path(tempfile.mkdtemp(dir=folder))
    with running_stack(home, BENTOML_CONTAINERIZED="true", **WRITING) as stack:
        async for row in stack_rows.kills(stack, size.kill_rounds, report.say):
            yield row
