"""What a person sees of a start: a line for each service that is ready, and last where to ask.

`tiffin serve` hands it, through the environment, to the supervisor that `bentoml serve` runs
(`services/bento/supervisor.py`). A terminal also gets a bar for each service that still loads; a
pipe gets the lines only. Without `tiffin serve` none of this shows, and BentoML's log does.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import URLError

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from tiffin.cli.start import Start

PROBE_S = 2.0
PAUSE_S = 0.1


class _Since(ProgressColumn):
    """Seconds since the start began, which was before the bars' process."""

    def __init__(self, began: float) -> None:
        self._began = began
        super().__init__()

    def render(self, task: Task) -> Text:
        """The same for every bar."""
        del task
        return Text(f"{time.time() - self._began:4.0f} s ")


class Shown:
    """Shows one start, in the supervisor's event loop."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._console = Console(stderr=True)
        self._took_s: dict[str, float] = {}
        self._ending: asyncio.Task[None] | None = None
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=12),
            _Since(start.began),
            TextColumn("{task.fields[model]}"),
            console=self._console,
            refresh_per_second=8,
            transient=True,
            disable=not self._console.is_terminal,
        )
        # No engine says how far it is, so the bars move without a length.
        self._loading = {
            name: self._bars.add_task(name, total=None, model=model)
            for name, model in start.models.items()
        }
        self._bars.start()

    def look(self, ready: set[str]) -> None:
        """Show which services are ready by now. Called at every tick; a restart shows nothing."""
        if self._ending is not None:
            return
        for name in sorted(ready & set(self._loading)):
            self._bars.remove_task(self._loading.pop(name))
            self._took_s[name] = time.time() - self._start.began
            line = f"{name:<10} ready after {self._took_s[name]:5.1f} s  {self._start.models[name]}"
            self._print(line.rstrip())
        if not self._loading:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    def stop(self) -> None:
        """Take the bars away: the start ends, done or not."""
        self._bars.stop()

    async def _end(self) -> None:
        """Say that all is ready once the entry service says so too."""
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(None, self._answers):  # noqa: ASYNC110  other process
            await asyncio.sleep(PAUSE_S)
        self.stop()
        took_s = time.time() - self._start.began
        print(self._said(took_s), flush=True)  # noqa: T201
        if self._console.is_terminal:
            for line in self._hints():
                self._print(line)

    def _said(self, took_s: float) -> str:
        """The one line (or object) that a program waits for."""
        start = self._start
        if not start.as_json:
            return f"Ready in {took_s:.0f} s  {start.url}  (ask there; API at /docs)"
        took = {name: round(seconds, 1) for name, seconds in self._took_s.items()}
        said = {"url": start.url, "ready_after_s": round(took_s, 1), "services": took}
        return json.dumps({**said, "tiers": start.tiers})

    def _hints(self) -> Iterator[str]:
        """What a person can do now; each line fits 80 columns."""
        for name, model in self._start.tiers.items():
            yield f"Tier:     {name}, which is {model}"
        yield f"Try it:   curl {self._start.url}/v1/rag \\"
        yield "            -H 'content-type: application/json' \\"
        yield """            -d '{"query": "How tall?", "documents": ["It is 330 m tall."]}'"""
        yield "Stop it:  Ctrl+C"

    def _answers(self) -> bool:
        with suppress(URLError, OSError):
            urllib.request.urlopen(f"{self._start.url}/readyz", timeout=PROBE_S).close()  # noqa: S310
            return True
        return False

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
