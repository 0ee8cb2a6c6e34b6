"""Peers in environments made for a benchmark and thrown away; none is a dependency of ours.

`bench.litellm_proxy` and `bench.encoders` install theirs with it.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.waiting import wait_for

INFINITY = "infinity-emb[server,torch,optimum]==0.0.78"


class PeerUnavailable(Exception):
    """The registry does not have it, or it does not install here."""


def install(folder: Path, *packages: str) -> None:
    """Make an environment of these packages in `folder`. Raises PeerUnavailable."""
    uv = Path(sys.executable).with_name("uv")
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--python", sys.executable, folder],
        [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *packages],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise PeerUnavailable(done.stderr.strip().splitlines()[-1])


@contextmanager
def infinity(
    folder: Path, port: int, *, threads: int, **models: Path
) -> Generator[str, None, None]:
    """Install infinity into `folder` and serve these models by these names; gives the URL."""
    install(folder, INFINITY, f"torch=={version('torch').partition('+')[0]}")
    named = [
        part
        for name, path in models.items()
        for part in ("--model-id", str(path), "--served-model-name", name)
    ]
    command = [str(folder / "bin" / "infinity_emb"), "v2", *named]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32"]
    command += ["--no-bettertransformer", "--no-model-warmup"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    variables = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            env={**os.environ, **variables},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health")
        yield url
    finally:
        process.terminate()
        process.wait(20)
