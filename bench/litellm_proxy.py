"""LiteLLM's proxy as a peer, in an environment that is made for it and thrown away.

It is never a dependency of ours: two of its releases carried malware.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

VERSION = "1.108.7"

_CONFIG = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/weightless, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}
"""


class PeerUnavailable(Exception):
    """The registry does not have it, or it does not install here."""


@contextmanager
def litellm_proxy(folder: Path, port: int, upstream_port: int) -> Generator[int, None, None]:
    """Install it into `folder`, start it, give the process's id, stop it."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--python", sys.executable, folder],
        [uv, "pip", "install", "--quiet", "--python", python, f"litellm[proxy]=={VERSION}"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise PeerUnavailable(done.stderr.strip().splitlines()[-1])
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(port=upstream_port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [folder / "bin" / "litellm", "--config", config, "--port", str(port)],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)
