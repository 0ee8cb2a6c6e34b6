"""Bentos of this tree: built from a clone without any network, exported and imported elsewhere."""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.stack import BENTOML, ROOT, TINY

NOWHERE = "http://127.0.0.1:9"
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
    "BENTOML_DO_NOT_TRACK": "True",
}


@dataclass(frozen=True)
class Bento:
    """A Bento in a store, a folder that BENTOML_HOME names."""

    store: Path
    tag: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        name, version = self.tag.split(":")
        return self.store / "bentos" / name / version

    def weights(self) -> dict[str, Path]:
        """The folders of the BentoML models that it names, by their tags."""
        described = yaml.safe_load((self.folder / "bento.yaml").read_text())
        tags = [model["tag"] for service in described["services"] for model in service["models"]]
        return {tag: self.store / "models" / tag.replace(":", "/") for tag in tags}

    def content(self) -> dict[str, str]:
        """The digest of every file, without what no two builds share: version and time."""
        found = {}
        for place, folder in {"bento": self.folder, **self.weights()}.items():
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != ".tiffin.json":
                    name = f"{place}/{path.relative_to(folder)}"
                    found[name] = hashlib.sha256(_lasting(path)).hexdigest()
        return found


def _lasting(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name not in ("bento.yaml", "model.yaml"):
        return data
    fresh = (b"version:", b"creation_time:")
    return b"\n".join(line for line in data.split(b"\n") if not line.strip().startswith(fresh))


def clone(target: Path) -> Path:
    """Copy what git would give: the files of this tree that it knows or does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    return target


def build(source: Path, store: Path) -> Bento:
    """What `bentoml build` makes of a folder, offline."""
    return Bento(store, bentoml(store, "build", "--output", "tag", cwd=source).split(":", 1)[1])


def moved(bento: Bento, folder: Path) -> Bento:
    """The same Bento, exported to an archive and imported into an empty store."""
    # Its own format compresses hard, which takes minutes for weights.
    archive, store = folder / "archive.tar", folder / "bentoml"
    bentoml(bento.store, "export", bento.tag, str(archive), cwd=folder)
    bentoml(store, "import", str(archive), cwd=folder)
    return Bento(store, bento.tag)


def bentoml(store: Path, *arguments: str, cwd: Path) -> str:
    """Run the bentoml command on a store; its last line."""
    done = subprocess.run(
        [BENTOML, *arguments],
        cwd=cwd,
        env={**TINY, **os.environ, **OFFLINE, "BENTOML_HOME": str(store)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().rsplit("\n", 1)[-1]
