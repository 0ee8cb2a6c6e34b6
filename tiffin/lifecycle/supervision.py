"""Liveness: the heartbeat of a process, and the judgement of the supervisor that watches it.

`services/bento/supervisor.py` watches; every service's process beats from the moment that it is
ready. A beat is the modification time of a file, so that a process that hangs, is stopped or is
dead gives none.
"""

import asyncio
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tiffin.config.resilience import SupervisionSettings

logger = logging.getLogger("bentoml.service.tiffin")

DIRECTORY_VARIABLE = "SUPERVISED_IN"
"""Environment variable: the folder of the heartbeats. Set for the processes under supervision."""

BEATS = 5
"""Beats of a process within the time after which silence means that it hangs."""

MAX_RESTART_DELAY_S = 30.0


async def beat(directory: Path, limits: SupervisionSettings) -> None:
    """Beat for as long as the event loop runs and the supervisor lives."""
    every_s = limits.hung_after_ms / 1000 / BEATS
    sign = directory / str(os.getpid())
    supervisor = os.getppid()
    while True:
        sign.touch()
        await asyncio.sleep(every_s)
        if os.getppid() != supervisor:
            logger.error("the supervisor is gone: ending")
            os.kill(os.getpid(), signal.SIGTERM)
            return


def last_beat(directory: Path, pid: int) -> float | None:
    """The time of a process's last beat; None before its first."""
    try:
        return (directory / str(pid)).stat().st_mtime
    except FileNotFoundError:
        return None


def waited_ms(pid: int) -> float:
    """How long a process's main thread, which runs its event loop, has waited for a core so far.

    The second field of Linux's `/proc/PID/schedstat`; 0 if the kernel does not count it.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6
    except (OSError, IndexError):
        return 0.0


@dataclass
class Watch:
    """One process under watch.

    Time is counted by the watcher's own checks, at most two ticks for each, without what the
    process has waited for a core: if the machine stands still or is busy, no process is to blame.
    """

    limits: SupervisionSettings
    beat: float | None = None
    loading_ms: float = 0.0
    stopped_ms: float = 0.0
    silent_ms: float = 0.0
    waited_ms: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether it has given a beat."""
        return self.beat is not None

    def look(
        self, elapsed_ms: float, *, stopped: bool, beat: float | None, waited_ms: float = 0.0
    ) -> str | None:
        """Why the process must be replaced, or None."""
        elapsed_ms -= waited_ms - self.waited_ms
        elapsed_ms = min(max(0.0, elapsed_ms), 2 * self.limits.tick_ms)
        self.waited_ms = waited_ms
        self.stopped_ms = self.stopped_ms + elapsed_ms if stopped else 0.0
        self.silent_ms = self.silent_ms + elapsed_ms if beat == self.beat else 0.0
        if beat is None:
            self.silent_ms = 0.0
            self.loading_ms += elapsed_ms
        self.beat = beat
        if self.stopped_ms >= self.limits.stopped_after_ms:
            return "was stopped"
        if self.silent_ms >= self.limits.hung_after_ms:
            return f"gave no sign for {self.silent_ms / 1000:.1f} s"
        if self.loading_ms >= self.limits.start_limit_s * 1000:
            return f"was not ready after {self.limits.start_limit_s} s"
        return None


def restart_delay_s(failures: int) -> float:
    """How long to wait before the next start, after a number of failed starts in a row."""
    return min(MAX_RESTART_DELAY_S, 2.0 ** (failures - 1)) if failures else 0.0
