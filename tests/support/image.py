"""Containers of the image that `make image` built: by Docker, or by buildah without an engine."""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.stack import stop

IMAGE = os.environ.get("TIFFIN_IMAGE_UNDER_TEST", "tiffin:latest")
USER = "1034:1034"
SOURCE = "/home/bentoml/bento/src"
START = ("python", "-m", "tiffin.cli.main", "deploy", "start")
SERVE = ("/home/bentoml/bento/env/docker/entrypoint.sh", "bentoml", "serve", "/home/bentoml/bento")
"""What the image does when nothing is said: everything composed."""


class Containers:
    """What starts containers here. Skips the test where there is no image."""

    def __init__(self) -> None:
        self.docker = _works("docker", "image", "inspect", IMAGE)
        self.image = IMAGE if self.docker else f"localhost/{IMAGE}"
        os.environ.setdefault("STORAGE_DRIVER", "vfs")
        if not self.docker and not _works("buildah", "inspect", "--type", "image", self.image):
            pytest.skip(f"no image {IMAGE}: `make image` builds it")

    @contextmanager
    def running(
        self, environment: dict[str, str], log: Path, words: tuple[str, ...] = START
    ) -> Generator[None, None, None]:
        """One service alone, or what else the words start, on the host's network."""
        with ExitStack() as stack, log.open("wb") as output:
            process = subprocess.Popen(
                self._command(stack, environment, words),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            stack.callback(stop, process)
            yield

    def output(self, script: str) -> str:
        """What a shell says in a container that is started like the services'."""
        with ExitStack() as stack:
            command = self._command(stack, {}, ("sh", "-c", script))
            # Unchecked: buildah 1.28 ends badly where it cannot tidy up in the root.
            return subprocess.run(command, capture_output=True, check=False, text=True).stdout

    def _command(
        self, stack: ExitStack, environment: dict[str, str], words: tuple[str, ...]
    ) -> list[str]:
        """Runs words as no user of this machine: all is read-only but a /tmp of its own."""
        variables = [word for item in environment.items() for word in ("--env", "=".join(item))]
        if self.docker:
            command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp"]
            command += ["--cap-drop=ALL", "--network=host", "--user", USER, "--workdir", SOURCE]
            return [*command, *variables, "--entrypoint", words[0], self.image, *words[1:]]
        container = _output("buildah", "from", "--pull-never", self.image)
        stack.callback(_output, "buildah", "rm", container)
        _output("buildah", "config", "--workingdir", SOURCE, container)
        _make_read_only(Path(_output("buildah", "mount", container)), stack)
        command = ["buildah", "run", "--isolation", "chroot", "--user", USER]
        command += ["--mount", "type=tmpfs,destination=/tmp", *variables]
        return [*command, container, "--", *words]

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


def _make_read_only(root: Path, stack: ExitStack) -> None:
    """What Docker's --read-only does, for buildah, which has no such flag."""
    for name in ("run/.containerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf"):
        (root / name).touch()  # what buildah puts its own files over
    _output("mount", "--bind", str(root), str(root))
    stack.callback(_output, "umount", "--lazy", str(root))
    _output("mount", "--options", "remount,bind,ro", str(root))


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
