"""A local deployment: every service split into replicas behind haproxy, kept as it should be.

`tiffin deploy up --local` runs one until it is stopped. It reads what should be from its folder
(`tiffin.deploy.state`), compares it with the replicas that there are, and takes one step:

    fewer than wanted, or of an older revision: start one   (one more than wanted, at most)
    ready for the first time:                   put it behind the load balancer
    one too many, an older revision first:      drain it, then stop it
    ended by itself:                            take it out; the first line starts another
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp

from tiffin.deploy.errors import DeployError
from tiffin.deploy.haproxy import PLACES, Balancer, config, find_haproxy
from tiffin.deploy.replica import Replica, start_replica
from tiffin.deploy.state import Desired, StateFolder, Status, Wanted

logger = logging.getLogger("tiffin.deploy")

PERIOD_S = 0.2
DRAIN_LIMIT_S = 60.0
MAX_PAUSE_S = 30.0
"""Between two starts of a service whose replicas end before they are ready; it doubles up to it."""


class LocalDeployment:
    """The replicas of all services. `addresses` is where each service is reached, by name."""

    def __init__(
        self, state: StateFolder, addresses: dict[str, str], calls: dict[str, tuple[str, ...]],
        balancer: Balancer, token: str,
    ) -> None:  # fmt: skip
        self._state = state
        self._addresses = addresses
        self._calls = calls
        self._balancer = balancer
        self._token = token
        self._replicas: dict[str, list[Replica]] = {name: [] for name in calls}
        self._pauses_s: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._drains: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Keep the deployment as it should be, until cancelled; then stop every replica."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            try:
                while True:
                    desired = self._state.read_desired()
                    for name, wanted in desired.services.items():
                        await self._step(name, wanted)
                    self._state.write(self.status())
                    await asyncio.sleep(PERIOD_S)
            finally:
                await self._stop_all()

    def status(self) -> Status:
        """What is."""
        services = {
            name: [replica.status() for replica in replicas]
            for name, replicas in self._replicas.items()
        }
        return Status(os.getpid(), self._addresses, services)

    async def _step(self, name: str, wanted: Wanted) -> None:
        for replica in list(self._replicas[name]):
            await self._notice(replica)
        serving = [r for r in self._replicas[name] if r.state in ("starting", "ready")]
        current = [r for r in serving if r.revision == wanted.revision]
        if len(current) < wanted.replicas and len(serving) <= wanted.replicas:
            await self._start(name, wanted)
        # An older revision goes first, then what is not ready yet, then the youngest.
        ready = [r for r in serving if r.state == "ready"]
        spare = [r for r in serving if r.revision != wanted.revision] + current[::-1]
        enough = len(ready) > wanted.replicas or len(current) > wanted.replicas
        if (enough or wanted.replicas == 0) and spare:
            self._retire(spare[0])

    async def _notice(self, replica: Replica) -> None:
        """See whether a replica has become ready, or has ended by itself."""
        name = replica.service
        if replica.has_ended and replica.state in ("starting", "ready"):
            await self._balancer.remove(name, replica.place)
            was_ready = replica.state == "ready"
            self._forget(replica)
            pause = 0.0 if was_ready else min(MAX_PAUSE_S, 2 * self._pauses_s.get(name, 0.5))
            self._pauses_s[name] = pause
            self._not_before[name] = asyncio.get_running_loop().time() + pause
            logger.warning("%s on port %d ended: %s", name, replica.port, replica.last_words())
        elif replica.state == "starting" and await self._is_ready(replica):
            await self._balancer.put(name, replica.place, replica.port)
            replica.state = "ready"
            self._pauses_s.pop(name, None)
            logger.info("%s on port %d is ready (pid %d)", name, replica.port, replica.process.pid)

    async def _is_ready(self, replica: Replica) -> bool:
        return self._session is not None and await replica.is_ready(self._session)

    async def _start(self, name: str, wanted: Wanted) -> None:
        if asyncio.get_running_loop().time() < self._not_before.get(name, 0):
            return
        taken = {replica.place for replica in self._replicas[name]}
        place = next((p for p in range(1, PLACES + 1) if p not in taken), None)
        if place is None:  # those that drain still hold their places
            return
        replica = await start_replica(
            name,
            place,
            free_port(),
            wanted,
            addresses={callee: self._addresses[callee] for callee in self._calls[name]},
            folder=self._state.folder,
            token=self._token,
        )
        self._replicas[name].append(replica)

    def _retire(self, replica: Replica) -> None:
        replica.state = "draining"
        task = asyncio.create_task(self._drain(replica), name=f"drain {replica.service}")
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self, replica: Replica) -> None:
        """Take a replica out without losing a request."""
        await self._balancer.drain(replica.service, replica.place)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_LIMIT_S):
                while await self._balancer.in_work(replica.service, replica.place):  # noqa: ASYNC110
                    await asyncio.sleep(PERIOD_S)
        await self._balancer.remove(replica.service, replica.place)
        await replica.stop()
        self._forget(replica)
        logger.info("%s on port %d was drained and stopped", replica.service, replica.port)

    def _forget(self, replica: Replica) -> None:
        replica.kill()
        replica.state = "ended"
        self._replicas[replica.service].remove(replica)

    async def _stop_all(self) -> None:
        for task in self._drains:
            task.cancel()
        # Callers first: an entry service must not see those that it calls go.
        for name in reversed(self._replicas):
            await asyncio.gather(*(replica.stop() for replica in self._replicas[name]))


@contextlib.asynccontextmanager
async def running_balancer(
    binds: dict[str, tuple[str, int]], folder: Path
) -> AsyncGenerator[Balancer, None]:
    """Haproxy in front of all services until the block ends."""
    path = folder / "haproxy.cfg"
    # A socket's path may have 108 bytes, haproxy adds to it while it binds: relative to its folder.
    path.write_text(config(binds, Path("haproxy.sock")))
    (folder / "haproxy.sock").unlink(missing_ok=True)
    with (folder / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(find_haproxy(), "-db", "-f", path.name),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not (folder / "haproxy.sock").exists():
            if process.returncode is not None:
                raise DeployError(f"haproxy did not start: {_first_alert(folder / 'haproxy.log')}")
            await asyncio.sleep(0.05)
        yield Balancer(folder / "haproxy.sock")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _first_alert(log: Path) -> str:
    lines = log.read_text().strip().splitlines() or ["it gave no reason"]
    return next((line for line in lines if "[ALERT]" in line), lines[-1])


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def first_desire(services: dict[str, tuple[str, ...]], replicas: dict[str, int]) -> Desired:
    """One replica of each service unless `replicas` says otherwise."""
    return Desired({name: Wanted(replicas.get(name, 1)) for name in services})
