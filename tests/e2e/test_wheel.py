"""The wheel, installed outside of the clone: it serves, and takes no name that others may have."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.support.stack import ROOT, TINY, free_port, stop, wait_until
from tiffin import __version__

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.nightly]

UV = Path(sys.executable).with_name("uv")
STRANGER = "raise ImportError('this package is somebody else's')\n"


def uv(*words: str | Path) -> None:
    done = subprocess.run([UV, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, what it needs, and strangers of the same names."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv("venv", "--python", sys.executable, folder)
    uv("pip", "install", "--python", folder, "--no-deps", wheel)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # A path alone: the .pth file of the editable install there is not read.
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib"))
    (packages / "models.py").write_text(STRANGER)
    (packages / "services.py").write_text(STRANGER)
    (packages / "service.py").write_text(STRANGER)
    return folder / "bin"


@pytest.fixture
def tiffin(scripts: Path, tmp_path: Path) -> Callable[..., str]:
    def run(*words: str) -> str:
        done = subprocess.run(
            [scripts / "tiffin", *words],
            cwd=tmp_path,
            env={**TINY, **os.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_wheel_takes_one_name(wheel: Path) -> None:
    with ZipFile(wheel) as held:
        names = held.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"tiffin"}
    assert {"tiffin/_app/service.py", "tiffin/playground/index.html"} <= set(names)
    assert "tiffin/_app/models/catalog.yaml" in names


def test_the_command_works_beside_strangers_of_the_same_names(tiffin: Callable[..., str]) -> None:
    assert tiffin("--version") == f"tiffin {__version__}\n"
    assert json.loads(tiffin("plan", "--json"))[0]["models"]
    assert "smollm2-135m-instruct" in tiffin("models", "list")


def test_it_serves_from_any_folder(scripts: Path, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [scripts / "tiffin", "serve", "--port", str(port), "--json"],
            cwd=tmp_path,
            env={**TINY, **os.environ, "BENTOML_HOME": str(tmp_path / "bentoml")},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(f"{url}/readyz", process)
        body = {"query": "How tall is the tower?", "documents": ["The tower is 330 metres tall."]}
        answer = httpx.post(f"{url}/v1/rag", json=body, timeout=60).json()
    finally:
        stop(process)
    assert "330 metres" in answer["answer"]
