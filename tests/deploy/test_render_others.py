"""Every other platform's files: read by that platform's own code where it is here, else linted."""

import ast
import json
from pathlib import Path
from typing import Any

import attr
import jsonschema
import pytest
import yaml
from _bentoml_sdk.service import config
from bentoml._internal.cloud.schemas.schemasv2 import CreateDeploymentSchema
from bentoml._internal.utils.cattr import bentoml_cattr

from tests.support.rendering import IMAGE, plan_of
from tiffin.config.section import SettingsError
from tiffin.config.settings import load_settings
from tiffin.deploy.render import TARGETS, write
from tiffin.deploy.render.plan import Plan


def rendered(target: str, folder: Path) -> dict[str, str]:
    write(target, plan_of() if target == "kubernetes" else Plan(load_settings(), IMAGE), folder)
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_writes_a_secret_and_each_says_where_it_is_from(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIFFIN_INTERNAL__TOKEN", "a-secret-that-stays-here")
    for name, text in rendered(target, tmp_path).items():
        assert "a-secret-that-stays-here" not in text
        assert name.endswith(".json") or f"tiffin deploy render --target {target}" in text


@pytest.mark.parametrize("target", TARGETS)
def test_rendering_again_gives_the_same(target: str, tmp_path: Path) -> None:
    assert rendered(target, tmp_path) == rendered(target, tmp_path)


def test_what_our_own_instructions_put_beside_the_files_stays(tmp_path: Path) -> None:
    rendered("compose", tmp_path)
    (tmp_path / ".env").write_text("TIFFIN_INTERNAL__TOKEN=a-secret")
    assert rendered("compose", tmp_path)[".env"] == "TIFFIN_INTERNAL__TOKEN=a-secret"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds mine\.txt, which is not rendered here"):
        rendered("compose", tmp_path)


@pytest.mark.parametrize("profile", ["laptop", "hybrid", "gpu", "multi-gpu"])
def test_bentocloud_s_file_is_read_by_bentoml_to_the_last_key(profile: str, tmp_path: Path) -> None:
    """BentoML drops keys that it does not know without a word; here each must have come through."""
    write("bentocloud", Plan(load_settings(profile=profile), IMAGE), tmp_path)
    document = yaml.safe_load((tmp_path / "bentocloud.yaml").read_text())
    assert not unread(document, bentoml_cattr.structure(document, CreateDeploymentSchema))
    for service in document["services"].values():
        overrides = service["config_overrides"]
        assert config.validate(overrides) == overrides


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "acces_authorization"),
        (("services", "RAG"), "scalling"),
        (("services", "RAG", "scaling"), "min_replica"),
        (("services", "RAG", "scaling", "policy"), "scale_up_window"),
        (("envs", 0), "val"),
    ],
)
def test_a_typo_for_bentocloud_would_be_noticed(
    path: tuple[str | int, ...], key: str, tmp_path: Path
) -> None:
    document = yaml.safe_load(rendered("bentocloud", tmp_path)["bentocloud.yaml"])
    place = document
    for step in path:
        place = place[step]
    place[key] = 1
    found = unread(document, bentoml_cattr.structure(document, CreateDeploymentSchema))
    assert found == [".".join(map(str, (*path, key)))]


def test_bentocloud_scales_on_what_the_profile_says(tmp_path: Path) -> None:
    document = yaml.safe_load(rendered("bentocloud", tmp_path)["bentocloud.yaml"])
    embedding = document["services"]["Embedding"]
    assert embedding["config_overrides"]["traffic"] == {"concurrency": 16}
    assert embedding["scaling"]["max_replicas"] == 4
    assert document["access_authorization"] is True


def unread(given: Any, read: Any, *path: str) -> list[str]:
    """The keys of a document that what BentoML made of it does not have with the same value."""
    if isinstance(given, dict):
        of_a_class = attr.has(type(read))
        pairs = {k: getattr(read, k) for k in attr.fields_dict(type(read))} if of_a_class else read
        return [
            place
            for key, value in given.items()
            for place in (
                unread(value, pairs[key], *path, key) if key in pairs else [".".join((*path, key))]
            )
        ]
    if isinstance(given, list):
        parts = enumerate(zip(given, read, strict=True))
        return [place for i, (a, b) in parts for place in unread(a, b, *path, str(i))]
    return [] if given == read else [".".join(path)]


@pytest.mark.parametrize(("target", "platform"), [("bentocloud", "BentoCloud"), ("modal", "Modal")])
def test_a_signal_that_a_platform_cannot_scale_on_is_refused_with_its_line(
    target: str, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiffin.config import settings

    text = (settings.PROFILES / "laptop.yaml").read_text()
    before, after = "{queue_depth: 4, latency_p95_ms: 2000}", "{latency_p95_ms: 2000}"
    (tmp_path / "laptop.yaml").write_text(text.replace(before, after))
    line = text[: text.index(before)].count("\n") + 1
    monkeypatch.setattr(settings, "PROFILES", tmp_path)
    words = f"{platform} scales on queue_depth only, Reranker has latency_p95_ms"
    with pytest.raises(SettingsError, match=words) as caught:
        rendered(target, tmp_path / "out")
    assert f"line {line} of laptop.yaml" in str(caught.value)


def test_compose_runs_each_service_apart_and_publishes_one(tmp_path: Path) -> None:
    document = yaml.safe_load(rendered("compose", tmp_path)["compose.yaml"])
    services = document["services"]
    assert set(services) == {"rag", "embedding", "reranker", "router", "safety", "small-llm"}
    assert [name for name, service in services.items() if "ports" in service] == ["rag"]
    depends = services["rag"]["environment"]["BENTOML_SERVE_DEPENDS"].split()
    hosts = {word.split("=")[1].removeprefix("http://").split(":")[0] for word in depends}
    assert hosts == set(services) - {"rag"}
    for service in services.values():
        assert service["read_only"]
        assert service["image"] == IMAGE


@pytest.mark.parametrize("profile", ["laptop", "hybrid", "gpu", "multi-gpu"])
def test_compose_s_file_holds_to_the_specification(profile: str, tmp_path: Path) -> None:
    write("compose", Plan(load_settings(profile=profile), IMAGE), tmp_path)
    document = yaml.safe_load((tmp_path / "compose.yaml").read_text())
    assert document.pop("name") == "tiffin", "newer than the schema"
    schema = json.loads((Path(__file__).parent / "schemas/compose.json").read_text())
    validator = jsonschema.Draft201909Validator(schema)
    validator.validate(document)
    document["services"]["rag"]["readonly"] = True
    with pytest.raises(jsonschema.ValidationError, match="'readonly' does not match"):
        validator.validate(document)


def test_compose_gives_no_card_to_two_services(tmp_path: Path) -> None:
    write("compose", Plan(load_settings(profile="multi-gpu"), IMAGE), tmp_path)
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    cards = {
        name: device["device_ids"]
        for name, service in services.items()
        for device in service["deploy"]["resources"].get("reservations", {}).get("devices", [])
    }
    assert cards == {"small-llm": ["0"], "large-llm": ["1", "2"]}
    assert [n for n, service in services.items() if "shm_size" in service] == ["large-llm"]
    assert services["small-llm"]["tmpfs"] == ["/tmp:mode=1777,exec"]
    assert services["router"]["tmpfs"] == ["/tmp:mode=1777"]


def test_modal_s_file_is_python_with_one_web_server_a_service(tmp_path: Path) -> None:
    """tests/deploy/test_platforms.py has Modal's SDK read it, and the next two theirs."""
    module = ast.parse(rendered("modal", tmp_path)["tiffin_modal.py"])
    servers = [
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef)
        and "modal.web_server" in ast.unparse(node)
        and node.decorator_list
    ]
    assert servers == ["embedding", "reranker", "router", "safety", "small_llm", "rag"]


def test_runpod_s_worker_has_the_cores_of_all_services(tmp_path: Path) -> None:
    body = json.loads(rendered("runpod", tmp_path)["endpoint.json"])
    assert body["variables"]["input"]["instanceIds"] == ["cpu3g-8-32"]


def test_more_cores_than_runpod_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    with pytest.raises(SettingsError, match=r"for 12 cores together; .* has at most 8"):
        rendered("runpod", tmp_path)


def test_replicate_s_runner_is_where_cog_looks(tmp_path: Path) -> None:
    files = rendered("replicate", tmp_path)
    file, _, name = yaml.safe_load(files["cog.yaml"])["run"].partition(":")
    names = [n.name for n in ast.parse(files[file]).body if isinstance(n, ast.ClassDef)]
    assert name in names


@pytest.mark.parametrize(
    ("profile", "large", "together"), [("laptop", None, 0), ("gpu", 1, 1), ("multi-gpu", 2, 2)]
)
def test_vllm_gets_gpus_though_the_profile_names_none(
    profile: str, large: int | None, together: int, tmp_path: Path
) -> None:
    """Alone a tier needs a card of its own; in one container the planner lets them share."""
    plan = plan_of(profile)
    write("kubernetes", plan, tmp_path)
    found = {}
    for deployment in yaml.safe_load_all((tmp_path / "base/deployments.yaml").read_text()):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        found[container["name"]] = container["resources"]["limits"].get("nvidia.com/gpu")
    assert found["small-llm"] == (None if large is None else "1")
    assert found.get("large-llm") == (None if large is None else str(large))
    assert found["embedding"] is None
    assert plan.gpus_together() == together


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("kubernetes", "name: tiffin-providers\n              key: OPENAI_API_KEY"),
        ("bentocloud", "- tiffin-providers"),
        ("compose", "OPENAI_API_KEY: ${OPENAI_API_KEY:?set it}"),
        ("modal", '"tiffin-providers", required_keys=["OPENAI_API_KEY"]'),
        ("runpod", "{{ RUNPOD_SECRET_OPENAI_API_KEY }}"),
    ],
)
def test_the_keys_of_providers_come_from_the_platform_s_secrets(
    target: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-that-stays-here")
    plan = Plan(load_settings(profile="hybrid"), IMAGE)
    write(target, plan_of("hybrid") if target == "kubernetes" else plan, tmp_path)
    text = "".join(path.read_text() for path in tmp_path.rglob("*.*"))
    assert text.count(says) == 1
    assert "sk-that-stays-here" not in text


def test_replicate_has_no_secrets_and_refuses_what_needs_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="profile hybrid needs OPENAI_API_KEY"):
        write("replicate", Plan(load_settings(profile="hybrid"), IMAGE), tmp_path)
