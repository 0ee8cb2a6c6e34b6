"""What `bentoml containerize` makes an image of, by the profile that the Bento is built for.

Every package comes as a wheel, CUDA too: the base image is the same with and without a GPU.
"""

from pathlib import Path

import bentoml

from models.user_catalog import catalog_of
from services.hosting import settings
from tiffin.ops.placement import gpus_together

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
"""There when a Bento is built; a Bento carries what was chosen of it."""

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
    # Not `requirements_file`: that takes a path of the folder where a program was started.
    return made.python_packages(pinned.read_text().rstrip("\n")) if pinned.is_file() else made


def _unless(there: str, packages: str) -> str:
    """A command that installs Debian packages where a check fails."""
    install = f"apt-get install -y --no-install-recommends {packages}"
    return f"{there} || {{ apt-get update && {install} && rm -rf /var/lib/apt/lists/*; }}"
