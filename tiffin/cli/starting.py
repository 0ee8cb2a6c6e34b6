"""What a person sees of a start: a line for each service that is ready, and last where to ask.

`tiffin serve` hands it, through the environment, to the supervisor that `bentoml serve` runs
(`services/bento/supervisor.py`). A terminal also gets a bar of the services that still load; a pipe
gets the lines only. Started without `tiffin serve`, none of this shows, and BentoML's log does.
"""

import asyncio
import json
import os
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from urllib.error import URLError

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

VARIABLE = "START_SHOWN"
"""Environment variable: the `Start` as JSON."""

PROBE_S = 2.0
PAUSE_S = 0.1


def is_shown() -> bool:
    """Whether this process belongs to a start that is shown so, and hides BentoML's log."""
    return VARIABLE in os.environ


@dataclass
class Start:
    """`began` is in seconds of the epoch, because it is measured across processes."""

    url: str
    models: dict[str, str]
    """What each service runs, by its name; empty for one without a model."""
    ready: str
    """What stands after the address in the last line."""
    example: str
    began: float = field(default_factory=time.time)

    def to_environment(self) -> dict[str, str]:
        """The variable that hands it to another process."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Start | None":
        """The one that this process was handed."""
        text = os.environ.get(VARIABLE)
        return cls(**json.loads(text)) if text else None


class Shown:
    """Shows one start, in the supervisor's event loop."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._console = Console(stderr=True)
        self._seen: set[str] = set()
        self._ending: asyncio.Task[None] | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(self._waiting(), total=len(start.models))
        self._bar.start()

    def look(self, ready: set[str]) -> None:
        """Show which services are ready by now. Called at every tick; a restart shows nothing."""
        if self._ending is not None:
            return
        for name in sorted(ready & set(self._start.models) - self._seen):
            self._seen.add(name)
            took_s = time.time() - self._start.began
            line = f"{name:<10} ready after {took_s:5.1f} s  {self._start.models[name]}"
            self._print(line.rstrip())
        self._bar.update(self._task, completed=len(self._seen), description=self._waiting())
        if self._seen == set(self._start.models):
            self._ending = asyncio.get_running_loop().create_task(self._end())

    def stop(self) -> None:
        """Take the bar away: the start ends, done or not."""
        self._bar.stop()

    async def _end(self) -> None:
        """Say that all is ready once the entry service says so too."""
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(None, self._answers):  # noqa: ASYNC110  other process
            await asyncio.sleep(PAUSE_S)
        self.stop()
        took_s = time.time() - self._start.began
        print(f"Ready in {took_s:.0f} s  {self._start.url}  {self._start.ready}", flush=True)  # noqa: T201
        if self._console.is_terminal:
            self._print(self._start.example)

    def _answers(self) -> bool:
        with suppress(URLError, OSError):
            urllib.request.urlopen(f"{self._start.url}/readyz", timeout=PROBE_S).close()  # noqa: S310
            return True
        return False

    def _waiting(self) -> str:
        return "loading " + ", ".join(name for name in self._start.models if name not in self._seen)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
