"""A split deployment on this machine: replicas of every service behind haproxy.

It stands in for Compose and Kubernetes in tests and benchmarks: services are scaled out and rolled
out, and a replica that dies is replaced, while requests keep coming.
"""

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.haproxy import PLACES, Balancer, running_balancer
from tests.support.stack import ANEW, free_port, stop, wait_until
from tiffin.config.services import ENTRY
from tiffin.config.settings import load_settings
from tiffin.config.topology import dependencies

TIFFIN = Path(sys.executable).with_name("tiffin")
TOKEN = "a-token-for-this-test-only"  # noqa: S105

PERIOD_S = 0.2
DRAIN_LIMIT_S = 60.0


@dataclass(eq=False)
class Replica:
    """One process of a service, at its place of the load balancer."""

    service: str
    place: int
    port: int
    revision: int
    process: "subprocess.Popen[bytes]"
    ready: bool = False

    @property
    def pid(self) -> int:
        """Of its process group too."""
        return self.process.pid


class Deployment:
    """A running deployment; `addresses` is where each service is reached, whatever its replicas."""

    def __init__(
        self,
        folder: Path,
        addresses: dict[str, str],
        balancer: Balancer,
        variables: dict[str, str],
    ) -> None:
        self.addresses = addresses
        self.url = addresses[ENTRY]
        self.balancer = balancer
        self._folder = folder
        self._calls = dependencies(load_settings())
        self._variables = defaultdict[str, dict[str, str]](lambda: variables)
        self._revisions = dict.fromkeys(addresses, 1)
        self._all: list[Replica] = []
        self._changing = threading.Lock()
        self._ending = threading.Event()
        self._guard = threading.Thread(target=self._replace_the_dead, name="replaces the dead")

    def replicas(self, service: str) -> list[Replica]:
        """Those that the load balancer sends requests to, the oldest first."""
        return [replica for replica in self._all if replica.service == service and replica.ready]

    def scale(self, service: str, count: int) -> None:
        """Have so many replicas of a service; return once it is so."""
        with self._changing:
            present = self.replicas(service)
            self._add(*[service] * (count - len(present)))
            for replica in present[count:]:
                self._retire(replica)

    def rollout(self, service: str, **variables: str) -> None:
        """Replace the replicas of a service one by one by others with these variables as well."""
        with self._changing:
            self._variables[service] = self._variables[service] | variables
            self._revisions[service] += 1
            for old in self.replicas(service):
                self._add(service)
                self._retire(old)

    def start(self) -> None:
        """Start one replica of each service."""
        self._add(*self._calls)
        self._guard.start()

    def stop(self) -> None:
        """Stop every replica, callers before those that they call."""
        self._ending.set()
        if self._guard.is_alive():
            self._guard.join()
        with ExitStack() as ends:  # last in, first out
            for replica in sorted(self._all, key=lambda replica: replica.service == ENTRY):
                ends.callback(stop, replica.process)

    def _add(self, *services: str) -> None:
        for replica in [self._started(service) for service in services]:
            wait_until(f"http://127.0.0.1:{replica.port}/readyz", replica.process)
            self.balancer.put(replica.service, replica.place, replica.port)
            replica.ready = True

    def _started(self, service: str) -> Replica:
        taken = {replica.place for replica in self._all if replica.service == service}
        place = next(place for place in range(1, PLACES + 1) if place not in taken)
        port = free_port()
        home = self._folder / f"{service}-{place}"
        home.mkdir(exist_ok=True)
        with (home / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(TIFFIN, "deploy", "start", service, "--host", "127.0.0.1"),
                    f"--port={port}",
                    *(f"--depends={name}={self.addresses[name]}" for name in self._calls[service]),
                ],
                env={
                    **os.environ,
                    **self._variables[service],
                    "BENTOML_HOME": str(home / "bentoml"),
                    "TIFFIN_INTERNAL__TOKEN": TOKEN,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        replica = Replica(service, place, port, self._revisions[service], process)
        self._all.append(replica)
        return replica

    def _retire(self, replica: Replica) -> None:
        """Stop a replica without losing a request."""
        self.balancer.drain(replica.service, replica.place)
        deadline = time.monotonic() + DRAIN_LIMIT_S
        while self.balancer.in_flight(replica.service, replica.place):
            assert time.monotonic() < deadline, f"{replica} does not finish its requests"
            time.sleep(PERIOD_S)
        self._remove(replica)

    def _remove(self, replica: Replica) -> None:
        self.balancer.remove(replica.service, replica.place)
        stop(replica.process)
        self._all.remove(replica)

    def _replace_the_dead(self) -> None:
        while not self._ending.wait(PERIOD_S):
            with self._changing:
                for replica in [r for r in self._all if r.process.poll() is not None]:
                    self._remove(replica)
                    self._add(replica.service)


@contextmanager
def running_deployment(folder: Path, **variables: str) -> Generator[Deployment, None, None]:
    """Start a deployment, wait until it answers, and stop it whatever happens."""
    addresses = {name: f"http://127.0.0.1:{free_port()}" for name in dependencies(load_settings())}
    with running_balancer(addresses, folder) as balancer:
        deployment = Deployment(folder, addresses, balancer, ANEW | variables)
        try:
            deployment.start()
            wait_until(f"{deployment.url}/readyz")
            yield deployment
        finally:
            deployment.stop()
