"""A PostgreSQL of the test's own: made in a folder under /tmp, on a free port, stopped after."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.stack import free_port

DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Postgres:
    """A server that runs. `url` is the ledger's setting."""

    programs: Path
    data: Path
    port: int
    user: str | None

    @property
    def url(self) -> str:
        """For the superuser that it was made with; connections of loopback are trusted."""
        return f"postgresql://tiffin@127.0.0.1:{self.port}/postgres"

    def control(self, *words: str) -> None:
        """Run pg_ctl."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data}"
        command = f"{self.programs}/pg_ctl -D {self.data} -w -l {self.data}/log".split()
        subprocess.run(
            [*command, "-o", options, *words], check=True, user=self.user, capture_output=True
        )


def programs() -> Path | None:
    """Where PostgreSQL's programs are: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(DEBIAN.glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "initdb").exists() else None


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A server until the block ends. It will not run as root: then it runs as another user."""
    user = None
    data = Path(tempfile.mkdtemp(prefix="tiffin-postgres-"))
    if os.geteuid() == 0:
        user = "postgres" if any(one.pw_name == "postgres" for one in pwd.getpwall()) else "nobody"
        shutil.chown(data, user)
    server = Postgres(folder, data, free_port(), user)
    try:
        command = f"{folder}/initdb -D {data} -U tiffin -A trust -N".split()
        subprocess.run(command, check=True, user=user, capture_output=True)
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(data)
