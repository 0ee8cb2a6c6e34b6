"""Files for a platform, out of the profile's scaling specification. One module a platform."""

from collections.abc import Callable
from pathlib import Path

from tiffin.deploy.errors import DeployError
from tiffin.deploy.render import bentocloud, compose, kubernetes, modal, replicate, runpod
from tiffin.deploy.render.plan import Plan

Files = dict[str, str]
"""The text of each file, by its path below the chosen folder."""

ADDED = {".env", "bento.tar", "requirements.txt"}
"""What the files' own instructions put beside them."""

TARGETS: dict[str, Callable[[Plan], Files]] = {
    "bentocloud": bentocloud.render,
    "kubernetes": kubernetes.render,
    "compose": compose.render,
    "modal": modal.render,
    "runpod": runpod.render,
    "replicate": replicate.render,
}


def write(target: str, plan: Plan, folder: Path) -> list[Path]:
    """Write a platform's files into a folder, which is made; DeployError when it holds others."""
    files = TARGETS[target](plan)
    if folder.exists():
        kept = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        if strange := sorted(kept - files.keys() - ADDED):
            message = f"{folder} holds {strange[0]}, which is not rendered here: choose another"
            raise DeployError(message)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [folder / name for name in files]
