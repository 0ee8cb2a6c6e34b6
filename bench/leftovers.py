"""What a benchmark starts ends with it, however it ends: by Ctrl-C, SIGTERM or an error."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress

import psutil

END_LIMIT_S, GRACE_S = 20, 2
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_PR_SET_CHILD_SUBREAPER = 36


def end(process: "subprocess.Popen[bytes]") -> None:
    """Tell it to end; what is left of it and of its children after a while is killed."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_LIMIT_S)
    _end_all(family)
    process.kill()
    process.wait()


@contextmanager
def nothing_left() -> Generator[None, None, None]:
    """Let SIGTERM and SIGHUP end the block as errors do; afterwards no process and no file is left.

    Orphans become children of this process, so that those are found, too, whose parent was killed.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in ENDING[:2]:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield
        finally:
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
            while family := psutil.Process().children(recursive=True):
                _end_all(family)


def _end_all(processes: Iterable[psutil.Process]) -> None:
    """Python's trackers of shared memory remove it if they have a moment after their parent."""
    for signal_, limit_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, END_LIMIT_S)):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal_)
        _, processes = psutil.wait_procs(processes, limit_s)
