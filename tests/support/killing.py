"""Ingestion that is killed in the middle of what it does, again and again.

`python -m tests.support.killing FOLDER` imports everything but LanceDB itself, which must not be
forked, and forks a process at each line that it reads. That one ingests what waits in the folder
and says on the standard output when each phase begins and ends. So a round takes as long as its
ingestion, and not as long as the imports. `Killer` kills each process in the phase that it is told.
"""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tests.support.ingesting import ingest
from tests.support.stack import ROOT
from tiffin.corpus import upkeep
from tiffin.corpus.prepare import Preparer
from tiffin.corpus.records import Records
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table

PHASES: dict[str, tuple[type, str, float]] = {
    "read": (Preparer, "cut", 0.3),
    "embed": (Preparer, "_embed", 0.005),
    "append": (Table, "append", 0.05),
    "complete": (Records, "complete", 0.002),
    "compact": (Table, "compact", 0.2),
    "index": (Table, "index_vectors", 0.3),
}
"""What is done in each, and how long after its beginning a kill comes at most, in seconds."""

ENDED = "ended"
INDEXED_CHUNKS = 500
"""An index of vectors is made from here on, in place of a hundred thousand."""


class Killer:
    """Kills ingestion of one folder. `hits` counts the phases that were going on at a kill."""

    def __init__(self, folder: Path) -> None:
        self._random = np.random.default_rng(7)
        command = [sys.executable, "-m", "tests.support.killing", str(folder)]
        pipe = subprocess.PIPE
        self._forking = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.hits: Counter[str] = Counter()
        self.ended = 0
        """Processes that had nothing left to do before they came to their phase."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forking.communicate()

    def kill_in(self, phase: str) -> None:
        """Let a process ingest until some time after this phase has begun, or begun again."""
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        self._forking.stdin.write("go\n")
        self._forking.stdin.flush()
        nth = int(self._random.integers(1, 5)) if phase == "read" else 1
        going_on, process = Counter[str](), 0
        for line in map(str.strip, self._forking.stdout):
            if line == ENDED:
                break
            if line.isdigit():
                process = int(line)
                continue
            going_on[line[1:]] += 1 if line[0] == "+" else -1
            nth -= line == f"+{phase}"
            if not nth:
                nth = -1
                time.sleep(self._random.uniform(0, PHASES[phase][2]))
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self.ended += nth > 0
        self.hits.update(name for name, count in going_on.items() if count > 0)


def _tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once, whichever thread


def _told(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, which says when it begins and ends."""

    @wraps(work)
    def plain(*given: Any, **named: Any) -> Any:
        _tell(f"+{phase}")
        done = work(*given, **named)
        _tell(f"-{phase}")
        return done

    @wraps(work)
    async def waited(*given: Any, **named: Any) -> Any:
        _tell(f"+{phase}")
        done = await work(*given, **named)
        _tell(f"-{phase}")
        return done

    return waited if inspect.iscoroutinefunction(work) else plain


def main() -> None:
    """Fork a process that ingests for each line, and wait for its end."""
    import lance_namespace  # noqa: F401  which takes most of the time of importing LanceDB
    import pyarrow as pa  # noqa: F401

    upkeep.EXACT_CHUNKS = INDEXED_CHUNKS
    for phase, (owner, name, _) in PHASES.items():
        setattr(owner, name, _told(phase, getattr(owner, name)))
    while sys.stdin.readline():
        process = os.fork()
        if not process:
            _tell(str(os.getpid()))
            asyncio.run(ingest(Store(Path(sys.argv[1]), "test"), tidy=True))
            os._exit(0)
        os.waitpid(process, 0)
        _tell(ENDED)


if __name__ == "__main__":
    main()
