"""The real supervisor over two small processes: `python -m tests.support.supervised LOG BEHAVIOUR`.

The inner one behaves as told (`serves`, `fails`, `hangs`), and the entry one serves. Both write
what happens to them into the log, a line each.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from bentoml._internal.utils.circus import create_standalone_arbiter
from bentoml.serving import create_watcher

from services.bento import supervisor
from tiffin.config.resilience import SupervisionSettings
from tiffin.lifecycle.supervision import DIRECTORY_VARIABLE, beat

LIMITS = SupervisionSettings(
    tick_ms=100, stopped_after_ms=500, hung_after_ms=1000, drain_ms=3000, start_limit_s=60
)
LAST_WORDS_S = 0.5


def supervise(log: str, behaviour: str) -> None:
    """Run until a signal comes."""
    supervisor.install(LIMITS)
    children = {"service_Inner": behaviour, "service": "serves"}
    watchers = [
        create_watcher(name, ["-m", __spec__.name, "child", log, name, does], numprocesses=1)
        for name, does in children.items()
    ]
    create_standalone_arbiter(watchers).start()


async def child(log: Path, name: str, behaviour: str) -> None:
    """One process under supervision."""

    def write(what: str) -> None:
        with log.open("a") as lines:
            lines.write(f"{name} {what}\n")

    if behaviour == "fails":
        raise SystemExit(3)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    beating = asyncio.create_task(beat(Path(os.environ[DIRECTORY_VARIABLE]), LIMITS))
    await asyncio.sleep(0.3)
    write("ready")
    if behaviour == "hangs":
        time.sleep(3600)  # noqa: ASYNC251  that is the point
    await ended.wait()
    write("was told to end")
    await asyncio.sleep(LAST_WORDS_S)
    write("ended")
    beating.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        asyncio.run(child(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
    else:
        supervise(sys.argv[1], sys.argv[2])
