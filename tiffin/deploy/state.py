"""What a local deployment should be and what it is: two small files in its folder.

`tiffin deploy scale` and `rollout` write the first, the running `tiffin deploy up` makes it so and
writes the second.
"""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from tiffin.deploy.errors import DeployError


class Wanted(msgspec.Struct, frozen=True):
    """One service as it should be. A change of `revision` replaces its replicas one by one."""

    replicas: int
    revision: int = 1
    bento: str | None = None
    environment: dict[str, str] = {}


class Desired(msgspec.Struct, frozen=True):
    """All services as they should be."""

    services: dict[str, Wanted]


class ReplicaStatus(msgspec.Struct, frozen=True):
    """One replica as it is."""

    pid: int
    port: int
    revision: int
    state: str


class Status(msgspec.Struct, frozen=True):
    """All replicas as they are, by service, and where each service is reached."""

    pid: int
    addresses: dict[str, str]
    services: dict[str, list[ReplicaStatus]]

    def is_as(self, desired: Desired) -> bool:
        """Whether every service has its replicas, all ready and of the right revision."""
        return all(
            len(self.services.get(name, [])) == wanted.replicas
            and all(
                replica.state == "ready" and replica.revision == wanted.revision
                for replica in self.services[name]
            )
            for name, wanted in desired.services.items()
        )


Record = TypeVar("Record", Desired, Status)


class StateFolder:
    """The folder of one local deployment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_desired(self) -> Desired:
        """What should be."""
        return self._read("desired.json", Desired)

    def read_status(self) -> Status:
        """What is. Raises DeployError when nothing runs."""
        status = self._read("status.json", Status)
        try:
            os.kill(status.pid, 0)
        except ProcessLookupError:
            raise self._nothing_runs() from None
        return status

    def write(self, record: Desired | Status) -> None:
        """Replace one of the two files at once."""
        name = "desired.json" if isinstance(record, Desired) else "status.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{name}.{os.getpid()}"
        part.write_bytes(msgspec.json.encode(record))
        part.replace(self.folder / name)

    def _read(self, name: str, kind: type[Record]) -> Record:
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except FileNotFoundError:
            raise self._nothing_runs() from None

    def _nothing_runs(self) -> DeployError:
        return DeployError(
            f"no local deployment runs in {self.folder}: start one with `tiffin deploy up --local`"
        )
