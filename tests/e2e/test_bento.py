"""What `bentoml build` makes: all that serving needs, nothing of the builder, twice the same."""

from pathlib import Path

import pytest
import yaml

from models.catalog import load_catalog
from models.files import check
from tests.support.bento import Bento, build, clone

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_two_builds_of_one_commit_have_the_same_content(built: Bento, tmp_path: Path) -> None:
    """The second is made from another folder, into another store."""
    again = build(clone(tmp_path / "another-clone"), tmp_path / "bentoml")
    assert again.tag != built.tag
    assert again.content() == built.content()


def test_the_bento_carries_the_catalogue_and_the_weights_of_its_profile(built: Bento) -> None:
    assert (built.folder / "src/models/catalog.yaml").is_file()
    described = yaml.safe_load((built.folder / "bento.yaml").read_text())
    assert described["labels"]["tiffin.profile"] == "tiny"
    names = {tag.split(":")[0] for tag in built.weights()}
    assert names == {"all-minilm-l6-v2", "ms-marco-minilm-l-12-v2", "smollm2-135m-instruct"}
    for tag, folder in built.weights().items():
        model = load_catalog().get(tag.split(":")[0])
        assert tag == f"{model.name}:{model.content_id}"
        for file in model.files:
            check(folder, file, file.sha256)


def test_requirements_are_pinned(built: Bento) -> None:
    lines = (built.folder / "env/python/requirements.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert all("==" in line for line in named), [line for line in named if "==" not in line]
    assert any(line.startswith("torch==") for line in named)


def test_nothing_of_the_builder_is_inside(
    built: Bento, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No folder of the machine, no index, no secret of the environment."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/index-example")
    monkeypatch.setenv("TIFFIN_INTERNAL__TOKEN", "s3cret-of-the-builder")
    bento = build(clone(tmp_path / "clone"), built.store)
    private = [str(tmp_path), str(Path.home()), "index.example", "index-example", "s3cret-of"]
    for path in bento.folder.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            assert not [word for word in private if word in text], path


def test_no_bytecode_and_no_test_is_shipped(built: Bento) -> None:
    shipped = [
        str(path.relative_to(built.folder / "src")) for path in built.folder.glob("src/**/*")
    ]
    assert not [name for name in shipped if "__pycache__" in name or name.startswith("tests")]
