"""The supervisor: keeps every service's process alive, and ends them in order.

Why: BentoML's own (circus's arbiter, in the process of `bentoml serve` or of the container) looks
every ten seconds, replaces nothing in a container, starts for ever what cannot start, and ends
everything at once. This one looks several times a second; replaces what is dead, stopped or hung,
in a container too; ends a start that cannot succeed with one line; and on SIGTERM lets the entry
service finish before those that it needs (docs/decisions/0060).

Upstream: not reported to BentoML. circus#16 asked for an end to restarts that fail.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from bentoml._internal.utils import circus
from circus.watcher import Watcher

from services.bento import metrics_folder, worker
from services.bento.versions import is_tested, replace
from tiffin.cli.start import Start
from tiffin.cli.starting import Shown
from tiffin.config.resilience import SupervisionSettings
from tiffin.config.services import ENTRY as ENTRY_SERVICE
from tiffin.lifecycle.supervision import (
    DIRECTORY_VARIABLE,
    Watch,
    last_beat,
    logger,
    restart_delay_s,
    waited_ms,
)

KILL_AFTER_S = 5.0
"""How long a process may take beyond the drain limit to end by itself."""

ENTRY = "service"
"""BentoML's name for the entry service's watcher; the others are `service_<name>`."""


def install(limits: SupervisionSettings) -> None:
    """Let BentoML use this supervisor when it starts services in processes."""

    class Configured(Supervisor):
        supervision = limits

    replace(circus, "Arbiter", Configured)  # read when `bentoml serve` makes one


class Supervisor(circus.Arbiter):
    """One for a `bentoml serve`; runs in the supervising process's event loop."""

    supervision: SupervisionSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  circus's own
        limits = self.supervision
        super().__init__(*args, **{**kwargs, "check_delay": limits.tick_ms / 1000})
        self._beats = Path(tempfile.mkdtemp(prefix="tiffin-beats-"))
        self._watches: dict[int, tuple[Watcher, psutil.Process, Watch]] = {}
        self._served: set[str] = set()
        self._failures: dict[str, int] = {}
        self._start_at: dict[str, float] = {}
        self._statuses: dict[int, int] = {}
        self._looked = time.monotonic()
        self._ending = False
        start = Start.from_environment()
        self._shown = Shown(start) if start is not None else None
        drain_s = (limits.drain_ms + limits.drain_notice_ms) / 1000
        for watcher in self.watchers:
            watcher.respawn = True
            watcher.graceful_timeout = drain_s + KILL_AFTER_S
            watcher.env = {**(watcher.env or {}), DIRECTORY_VARIABLE: str(self._beats)}
            watcher.hooks["after_reap"] = self._note_status
            if is_tested("bentoml") and watcher.args[:2] == ["-m", worker.BENTOML_S]:
                watcher.args = [worker.__file__, *watcher.args[2:]]
        for name in ("handle_term", "handle_int", "handle_quit"):
            setattr(self.ctrl.sys_hdl, name, self._on_signal)

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:
        """Start all and supervise until the end. Raises SystemExit if one cannot start."""
        try:
            super().start(cb)
        finally:
            self._hide()
            shutil.rmtree(self._beats, ignore_errors=True)
            metrics_folder.remove(self.watchers)

    async def manage_watchers(self) -> None:
        """Check every process (circus calls this every tick)."""
        if self._ending or self._exclusive_running_command is not None:
            return
        self.reap_processes()
        now = time.monotonic()
        elapsed_ms, self._looked = (now - self._looked) * 1000, now
        for watcher in self.watchers:
            if watcher.name.startswith(ENTRY):  # not a plugin of circus
                for pid in list(watcher.processes):
                    self._look(watcher, pid, elapsed_ms)
        if self._shown is not None:
            self._shown.look(self._ready())
        alive = {pid for watcher in self.watchers for pid in watcher.processes}
        for pid in set(self._watches) - alive:
            self._bury(pid)
        for watcher in self.watchers:
            missing = len(watcher.processes) < watcher.numprocesses
            if missing and not self._ending and now >= self._start_at.get(watcher.name, 0.0):
                await watcher.manage_processes()

    def _look(self, watcher: Watcher, pid: int, elapsed_ms: float) -> None:
        try:
            if pid not in self._watches:
                self._watches[pid] = watcher, psutil.Process(pid), Watch(self.supervision)
            _, process, watch = self._watches[pid]
            stopped = process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return  # it is reaped at the next check
        reason = watch.look(
            elapsed_ms,
            stopped=stopped,
            beat=last_beat(self._beats, pid),
            waited_ms=waited_ms(pid),
        )
        if watch.ready:
            self._served.add(watcher.name)
            self._failures[watcher.name] = 0
        if reason is not None:
            logger.error("%s (process %d) %s: replacing it", _service(watcher), pid, reason)
            _kill_group(pid)

    def _bury(self, pid: int) -> None:
        """A process is gone: schedule its restart, or end the start if it never served."""
        watcher, _, watch = self._watches.pop(pid)
        _kill_group(pid)  # what it started itself
        metrics_folder.forget(watcher, pid)
        # It may have become ready and died between two checks.
        served = watch.ready or last_beat(self._beats, pid) is not None
        (self._beats / str(pid)).unlink(missing_ok=True)
        how = _describe(self._statuses.pop(pid, None))
        if served:
            self._served.add(watcher.name)
        elif watcher.name not in self._served:
            message = f"{_service(watcher)} could not start: its process {how}; its log is above"
            self._fail(message)
            return
        failures = 0 if served else self._failures.get(watcher.name, 0) + 1
        self._failures[watcher.name] = failures
        delay_s = restart_delay_s(failures)
        self._start_at[watcher.name] = time.monotonic() + delay_s
        logger.error(
            "%s (process %d) %s: starting it again in %g s", _service(watcher), pid, how, delay_s
        )

    def _ready(self) -> set[str]:
        """The names of the services all of whose processes can serve."""
        loading = {watcher.name for watcher, _, watch in self._watches.values() if not watch.ready}
        ready = [watcher for watcher in self.watchers if watcher.name in self._served - loading]
        return {ENTRY_SERVICE if one.name == ENTRY else _service(one) for one in ready}

    def _hide(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _fail(self, message: str) -> None:
        self._hide()
        self._exception = SystemExit(f"tiffin: {message}")
        for watcher in self.watchers:
            watcher.graceful_timeout = KILL_AFTER_S
        self.loop.add_callback(self.end)

    def _on_signal(self) -> None:
        self.loop.add_callback_from_signal(self.end)

    def stop(self) -> None:
        """End everything (what BentoML and circus call)."""
        self.loop.add_callback(self.end)

    async def end(self) -> None:
        """End the entry service first, then those that it needs. A second call kills them."""
        if self._ending:
            for pid in self._watches:
                _kill_group(pid)
            return
        self._ending = True
        entry = [watcher for watcher in self.watchers if watcher.name == ENTRY]
        inner = [watcher for watcher in self.watchers if watcher.name != ENTRY]
        for group in (entry, inner):
            await asyncio.gather(*(watcher._stop(close_output_streams=True) for watcher in group))  # noqa: SLF001
        super().stop()

    def _note_status(self, *, process_pid: int, exit_code: int, **_: object) -> bool:
        self._statuses[process_pid] = exit_code
        return True


def _service(watcher: Watcher) -> str:
    name: str = watcher.name
    return "the entry service" if name == ENTRY else name.removeprefix(f"{ENTRY}_")


def _describe(status: int | None) -> str:
    if status is None:
        return "ended"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _kill_group(pid: int) -> None:
    """Kill a worker and all that it started: circus makes each the leader of its own group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
