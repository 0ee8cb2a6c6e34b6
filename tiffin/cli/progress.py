"""What a pull looks like: a moving bar on a terminal, one line for each model elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from models.progress import Progress, silent


@contextmanager
def pulling(console: Console, model: str) -> Iterator[Progress]:
    """Show the pull of one model while the body runs."""
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
