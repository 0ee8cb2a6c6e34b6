"""Shows tables, and a pull: a progress bar on a terminal, otherwise one line for each model.

The services call it too, before their workers start.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from models.catalog import Model
from models.progress import Progress, silent
from models.store import Store

MB = 1e6
PIPE_COLUMNS = 260
"""A pipe has no width: this is wide enough that nothing of a table is cut."""


def print_table(table: Table) -> None:
    """Print a table on stdout; one too wide for the terminal becomes a paragraph for each row."""
    console = Console(width=None if Console().is_terminal else PIPE_COLUMNS)
    if console.measure(table, options=console.options.update(width=PIPE_COLUMNS)).maximum <= (
        console.width
    ):
        console.print(table)
        return
    if table.title:
        console.print(table.title)
    names = [str(column.header) for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        name, *cells = map(str, row)
        console.print(name, style="bold", soft_wrap=True, highlight=False)
        pairs = [f"{title}: {cell}" for title, cell in zip(names[1:], cells, strict=True) if cell]
        console.print(Padding("; ".join(pairs), (0, 0, 0, 2)), highlight=False)


def pull_shown(store: Store, model: Model) -> None:
    """Pull one model and show its progress on stderr."""
    console = Console(stderr=True)
    if store.is_present(model):
        console.print(f"{model.name}: present", highlight=False)
        return
    started = time.monotonic()
    with pulling(console, model.name) as progress:
        store.pull(model, progress)
    took_s = time.monotonic() - started
    size = f"{model.size_bytes / MB:.0f} MB"
    console.print(f"{model.name}: pulled and verified, {size} in {took_s:.1f} s", highlight=False)


@contextmanager
def pulling(console: Console, model: str) -> Iterator[Progress]:
    """Show the progress of one model's pull while the body runs."""
    if not console.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.fields[model]}: {task.description}"),
        BarColumn(bar_width=12),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting", model=model, total=None)

        def report(step: str, done_bytes: int, total_bytes: int) -> None:
            bars.update(task, description=step, completed=done_bytes, total=total_bytes)

        yield report
