"""Renders the files of a platform from the profile's `scaling`. Each platform has its module."""

from collections.abc import Callable
from pathlib import Path

from tiffin.config.section import SettingsError
from tiffin.deploy.render import bentocloud, compose, kubernetes, modal, replicate, runpod
from tiffin.deploy.render.plan import Plan

Files = dict[str, str]
"""The text of each file, by its path below the chosen folder."""

ADDED = {".env", "bento.tar", "requirements.txt"}
"""Files that the rendered instructions tell the user to put beside them."""

MADE = "Made by `tiffin deploy render"
"""In the first line of a file that was rendered, if it may have comments."""

TARGETS: dict[str, Callable[[Plan], Files]] = {
    "bentocloud": bentocloud.render,
    "kubernetes": kubernetes.render,
    "compose": compose.render,
    "modal": modal.render,
    "runpod": runpod.render,
    "replicate": replicate.render,
}


def write(target: str, plan: Plan, folder: Path) -> list[Path]:
    """Write the files of a platform into a folder, creating it. Raises SettingsError as `save`."""
    return save(TARGETS[target](plan), folder)


def save(files: Files, folder: Path) -> list[Path]:
    """Write rendered files into a folder; what an earlier rendering left of itself goes.

    Raises SettingsError if the folder holds other files.
    """
    if folder.exists():
        kept = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        strange = sorted(kept - files.keys() - ADDED)
        if mine := next((name for name in strange if not _is_ours(folder / name)), None):
            message = f"{folder} holds {mine}, which is not rendered here: choose another folder"
            raise SettingsError(message)
        for name in strange:
            (folder / name).unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [folder / name for name in files]


def _is_ours(path: Path) -> bool:
    with path.open(errors="replace") as file:
        return MADE in file.readline()
