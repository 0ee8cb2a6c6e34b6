"""What `bentoml containerize` makes an image of, by the profile that the Bento is built for.

Why: `bentoml.images.Image` adds a compiler and git to every distribution that it knows, so that a
`distro` is named here which it does not know; and uv inside the image needs to be told which torch
to take, and of the overrides without which vLLM's pins collide. Every package comes as a wheel,
CUDA too: the base image is the same with and without a GPU (docs/decisions/0075).

Upstream: not reported. An unknown `distro` is accepted if a base image is given. BentoML installs
the newest uv into the image, 1.4.40 a pinned one.
"""

import json
import shlex
import tomllib
from pathlib import Path

import bentoml

from models.user_catalog import catalog_of
from services.hosting import settings
from tiffin.config.placement import gpus_together

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
"""There when a Bento is built, as is pyproject.toml; a Bento carries what was chosen of it."""

HEADERS = "python -c 'import sysconfig; print(sysconfig.get_path(\"include\"))'"


def image() -> "bentoml.images.Image":
    """The image of the profile: for GPUs when a model of it runs on one."""
    gpu = gpus_together(settings, catalog_of(settings.home)) > 0
    # BentoML adds a compiler and git for the distributions that it knows.
    made = bentoml.images.Image(python_version="3.11", base_image="python:3.11-slim", distro="slim")
    made.run(_unless("ldconfig -p | grep -q libgomp.so.1", "libgomp1"))  # llama.cpp's threads
    if gpu:
        # Triton compiles the launchers of its kernels when they are first used.
        made.run(_unless("command -v gcc", "gcc libc6-dev"))
        made.run(_unless(f"[ -e $({HEADERS})/Python.h ]", "python3-dev"))
    else:
        # A base image may bring its own; without, torch would bring CUDA.
        write = "mkdir -p /etc/uv; printf '[pip]\\ntorch-backend = \"cpu\"\\n' > /etc/uv/uv.toml"
        made.run(f"if [ ! -e /etc/uv/uv.toml ]; then {write}; fi")
    pinned = REQUIREMENTS / ("bento-gpu.txt" if gpu else "bento.txt")
    if not pinned.is_file():
        return made
    if gpu:
        made.run(_overrides())
    # Not `requirements_file`: that takes a path of the folder where a program was started.
    return made.python_packages(pinned.read_text().rstrip("\n"))


def _overrides() -> str:
    """A command that tells uv of pyproject.toml's overrides, without which vLLM's pins collide."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    overrides = project["tool"]["uv"]["override-dependencies"]
    line = shlex.quote(f"override-dependencies = {json.dumps(overrides)}")
    # Before what is there: a key after a table would belong to the table.
    there = "cat /etc/uv/uv.toml 2>/dev/null || true"
    return (
        f"mkdir -p /etc/uv; {{ echo {line}; {there}; }} > /etc/uv/new;"
        " mv /etc/uv/new /etc/uv/uv.toml"
    )


def _unless(there: str, packages: str) -> str:
    """A command that installs Debian packages where a check fails."""
    install = f"apt-get install -y --no-install-recommends {packages}"
    return f"{there} || {{ apt-get update && {install} && rm -rf /var/lib/apt/lists/*; }}"
