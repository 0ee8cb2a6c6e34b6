"""Quantizes a model of plain weights with llm-compressor, which has its own environment.

It needs other versions of transformers and compressed-tensors than we do, so it is installed once
in a separate environment and runs `models/quantize_job.py` there. Called by `tiffin models
quantize`.
"""

import json
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from models.catalog import LocalSource, Model, WeightFile
from models.errors import WeightsError
from models.files import sha256_of

TOOL = "llmcompressor==0.14.0.1"
SAMPLE = Path(__file__).with_name("quantize_sample.txt")
JOB = Path(__file__).with_name("quantize_job.py")

Method = Literal["w4a16", "gptq", "fp8"]
"""4-bit weights rounded to nearest; 4-bit weights calibrated by GPTQ on a text; 8-bit floats."""


def tool_python(home: Path) -> Path:
    """The Python that has llm-compressor; the first call installs it (minutes, 2 GB).

    Raises WeightsError with the installer's last line.
    """
    folder = home / "tools" / TOOL.replace("==", "-")
    python, done = folder / "bin" / "python", folder / "installed"
    if done.is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    torch = f"torch=={version('torch').partition('+')[0]}"
    _run([str(python), "-m", "pip", "install", "--quiet", TOOL, torch], f"installing {TOOL}")
    done.touch()
    return python


def quantize(
    python: Path, source: Path, target: Path, method: Method, text: Path
) -> dict[str, float]:
    """Write the quantized folder; return the perplexity `before` and `after`.

    The first half of the text calibrates GPTQ, the second half measures.
    """
    target.mkdir(parents=True)
    report = target / "report.json"
    _run(
        [str(python), str(JOB), str(source), str(target), method, str(text), str(report)],
        f"quantizing {source.name}",
    )
    measured: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
    report.unlink()
    return measured


def entry(model: Model, name: str, folder: Path, method: Method, loss: dict[str, float]) -> Model:
    """The catalogue entry of a quantized folder, with the loss of quality."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tuple(
        WeightFile(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of(path),
        )
        for path in paths
    )
    weights = sum(path.stat().st_size for path in paths if path.suffix == ".safetensors")
    changes = {
        "name": name,
        "quantization": f"compressed-tensors {method}",
        "note": (
            f"{model.name} by {TOOL}; perplexity {loss['after']:.2f} for {loss['before']:.2f} "
            f"on {loss['tokens']:.0f} tokens"
        ),
        "memory_bytes": weights,
        "files": files,
        "sources": (LocalSource(kind="local", path=str(folder)),),
    }
    return Model.model_validate({**dict(model), **changes})


def _run(command: list[str], what: str) -> None:
    result = subprocess.run(  # noqa: S603  our own script, or pip
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no output"]
        raise WeightsError(f"{what} failed: {lines[-1]}")
