"""Containers of the image that `make image` built: by Docker, or by buildah without an engine."""

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.stack import stop

IMAGE = os.environ.get("TIFFIN_IMAGE_UNDER_TEST", "tiffin:latest")
USER = "1034:1034"
SOURCE = "/home/bentoml/bento/src"
START = ("python", "-m", "tiffin.cli.main", "deploy", "start")


class Containers:
    """What starts containers here. Skips the test where there is no image."""

    def __init__(self) -> None:
        self.docker = _works("docker", "image", "inspect", IMAGE)
        self.image = IMAGE if self.docker else f"localhost/{IMAGE}"
        os.environ.setdefault("STORAGE_DRIVER", "vfs")
        if not self.docker and not _works("buildah", "inspect", "--type", "image", self.image):
            pytest.skip(f"no image {IMAGE}: `make image` builds it")

    @contextmanager
    def running(self, environment: dict[str, str], log: Path) -> Generator[Path | None, None, None]:
        """One service alone, on the host's network, as no user of this machine.

        Yields the container's root where it can be seen. Docker makes that root read-only.
        """
        variables = [word for item in environment.items() for word in ("--env", "=".join(item))]
        with ExitStack() as stack:
            root = None
            if self.docker:
                command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp"]
                command += ["--cap-drop=ALL", "--network=host", "--user", USER, "--workdir", SOURCE]
                command += [*variables, "--entrypoint", START[0], self.image, *START[1:]]
            else:
                container = _output("buildah", "from", "--pull-never", self.image)
                stack.callback(_output, "buildah", "rm", container)
                _output("buildah", "config", "--workingdir", SOURCE, container)
                root = Path(_output("buildah", "mount", container))
                command = ["buildah", "run", "--isolation", "chroot", "--user", USER]
                command += [*variables, container, "--", *START]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, stdout=output, stderr=output, start_new_session=True
                )
            stack.callback(stop, process)
            yield root

    def size_bytes(self) -> int:
        """All files of the image."""
        if self.docker:
            return int(_output("docker", "image", "inspect", "-f", "{{.Size}}", self.image))
        container = _output("buildah", "from", "--pull-never", self.image)
        try:
            root = Path(_output("buildah", "mount", container))
            return int(_output("du", "-sb", str(root)).split()[0])
        finally:
            _output("buildah", "rm", container)


def written_since(root: Path, began: float) -> list[str]:
    """Files that were written outside of /tmp, from a time on, and that a start cannot do without.

    What Tiffin notes down about verified weights it may leave out, and Python its bytecode.
    """
    found = []
    for folder, _, files in os.walk(root):
        place = Path(folder).relative_to(root)
        if place.parts[:1] in (("tmp",), ("proc",), ("sys",), ("dev",), ("run",)):
            continue
        for name in files:
            path = Path(folder) / name
            if name != ".tiffin.json" and path.suffix != ".pyc" and path.lstat().st_mtime > began:
                found.append(str(place / name))
    return found


def now() -> float:
    """A time that the file system compares with; it may lag behind by a tick."""
    time.sleep(0.05)
    return time.time()


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
