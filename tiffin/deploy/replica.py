"""One replica of a service on this machine: a process group of its own, with its own log."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tiffin.deploy.alone import SOURCE
from tiffin.deploy.errors import DeployError
from tiffin.deploy.state import ReplicaStatus, Wanted

STOP_LIMIT_S = 40.0


@dataclass(eq=False)
class Replica:
    """A replica from its start to its end. `state`: starting, ready, draining, ended."""

    service: str
    place: int
    port: int
    revision: int
    process: asyncio.subprocess.Process = field(repr=False)
    log: Path
    state: str = "starting"

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self.process.returncode is not None

    def status(self) -> ReplicaStatus:
        """For the status file."""
        return ReplicaStatus(self.process.pid, self.port, self.revision, self.state)

    def last_words(self) -> str:
        """The last line that it logged."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing was logged"

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        """Whether it says so itself."""
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
                return response.status == 200  # noqa: PLR2004
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def stop(self) -> None:
        """Let it finish and end; then end whatever is left of its group."""
        if not self.has_ended:
            self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), STOP_LIMIT_S)
        self.kill()
        await self.process.wait()
        self.state = "ended"

    def kill(self) -> None:
        """End the whole group at once, workers that outlived their supervisor included."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


async def start_replica(
    service: str,
    place: int,
    port: int,
    wanted: Wanted,
    *,
    addresses: dict[str, str],
    folder: Path,
    token: str,
) -> Replica:
    """Start a replica on a port of loopback; it is not ready yet."""
    home = folder / f"{service}-{place}"
    (home / "bentoml").mkdir(parents=True, exist_ok=True)
    _share_store(home / "bentoml")
    source = _source_of(wanted.bento)
    log = home / f"revision-{wanted.revision}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tiffin.cli.main", "deploy", "start", service),
            *("--host", "127.0.0.1", "--port", str(port)),
            *(f"--depends={name}={url}" for name, url in addresses.items()),
            cwd=source,
            env={
                **os.environ,
                **wanted.environment,
                "BENTOML_HOME": str(home / "bentoml"),
                "PYTHONPATH": str(source),
                "TIFFIN_INTERNAL__TOKEN": token,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Replica(service, place, port, wanted.revision, process, log)


def _store() -> Path:
    return Path(os.environ.get("BENTOML_HOME", "~/bentoml")).expanduser().absolute()


def _share_store(home: Path) -> None:
    """Give a replica its own BENTOML_HOME, whose metrics BentoML wipes, with the shared weights."""
    for name in ("models", "bentos"):
        (_store() / name).mkdir(parents=True, exist_ok=True)
        link = home / name
        if not link.exists():
            link.symlink_to(_store() / name)


def _source_of(bento: str | None) -> Path:
    """The folder to start from: this source tree, or that of a Bento in BentoML's store."""
    if bento is None:
        return SOURCE
    name, _, version = bento.partition(":")
    folder = _store() / "bentos" / name
    try:
        if version in ("", "latest"):
            version = (folder / "latest").read_text().strip()
    except FileNotFoundError:
        raise DeployError(f"{bento}: no such Bento in {_store()}; see `bentoml list`") from None
    if not (folder / version / "bento.yaml").is_file():
        raise DeployError(f"{bento}: no such Bento in {_store()}; see `bentoml list`")
    return folder / version / "src"
