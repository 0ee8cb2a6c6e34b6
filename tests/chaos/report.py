"""Takes the rows as they come: onto the terminal, and at once into the report.

An interrupted run leaves what was seen up to then.
"""

import os
import platform
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.row import TABLE_HEAD, Row, line, table

HEAD = """# Reliability: what was broken, and what clients saw

Written by `make chaos` (`python -m tests.chaos --report docs/reliability.md`); every row is
measured by tests/chaos, with real processes, on one machine that also runs the load generator.
Latency counts from when a request should have left. A figure that was missed says so.
"""

RUN = """
## {command}

{when}, {cpu} cores, load average {load:.1f} when it began{note}.

{table}
"""

BUSY = " (other programs were using the machine: times are longer than on a quiet one)"


@dataclass
class Report:
    """`path` None: nothing is written."""

    path: Path | None
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def open(self, command: str, *, append: bool) -> None:
        """Write what stands above the rows."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not append:
            self.path.write_text(HEAD)
        load, cpu = os.getloadavg()[0], os.cpu_count() or 1
        self._write(
            RUN.format(
                command=command,
                when=f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()}",
                cpu=cpu,
                load=load,
                note=BUSY if load > cpu / 2 else "",
                table=TABLE_HEAD,
            )
        )

    def add(self, row: Row) -> None:
        """One more row."""
        self.rows.append(row)
        self.say(" | ".join(row.cells()))
        self._write(line(row.cells()) + "\n")

    def say(self, what: str) -> None:
        """Progress, for somebody who watches."""
        if sys.stderr.isatty():
            minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
            print(f"{minutes:3}:{seconds:02}  {what}", file=sys.stderr, flush=True)

    def close(self, *, finished: bool) -> None:
        """Print the whole table; say in the report that it is not all, where it is not."""
        print(table(self.rows))
        if not finished:
            self._write("\nInterrupted: the tests that are not listed did not run.\n")

    def _write(self, text: str) -> None:
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(text)
