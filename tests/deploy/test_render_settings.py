"""What variables set reaches the pods and their network, and what cannot be is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.rendering import (
    LEDGER,
    PROMETHEUS,
    REDIS,
    Manifest,
    environment,
    manifests,
    plan_of,
)
from tiffin.cli.main import main
from tiffin.config.section import SettingsError
from tiffin.deploy.render import write

SHARED = {"TIFFIN_ROUTING__LEDGER": LEDGER, "TIFFIN_CACHE__REDIS": REDIS}
A_SECRET = "a-secret-that-stays-here"  # noqa: S105  made up
OWN = "http://vllm.models.svc.cluster.local:8000/v1"


def render(folder: Path, *words: str, **variables: str) -> Result:
    target = ["deploy", "render", "--target", "kubernetes", "--output", str(folder)]
    return CliRunner().invoke(main, [*target, *words], env=variables)


def rendered(folder: Path, *words: str, **variables: str) -> dict[str, Manifest]:
    """The Deployments by the name of their service."""
    given = ("--prometheus", PROMETHEUS, "--without-corpora", *words)
    result = render(folder, *given, **SHARED, **variables)
    assert result.exit_code == 0, result.output
    named = {m["metadata"]["name"]: m for m in manifests(folder, "Deployment")}
    return {name.removeprefix("tiffin-"): manifest for name, manifest in named.items()}


def provider(url: str, **more: str) -> str:
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    mine = {"provider": "openai-compatible", "model": "m", "base_url": url, "price": price}
    return json.dumps({"large": mine | more})


@pytest.mark.slow
def test_what_variables_set_reaches_every_pod(tmp_path: Path) -> None:
    given = {
        "TIFFIN_PROVIDERS": provider(OWN),
        "TIFFIN_RAG__TOP_N": "4",
        "TIFFIN_ROUTING__CAPS__DAY_USD": "20",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.tracing:4318",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    for name, deployment in rendered(tmp_path, **given).items():
        found = environment(deployment)
        assert {key: found.get(key) for key in given} == given, name
        assert found["TIFFIN_ROUTING__LEDGER"] == LEDGER


def test_secrets_are_references_and_no_file_holds_one(tmp_path: Path) -> None:
    deployments = rendered(
        tmp_path,
        TIFFIN_PROFILE="hybrid",
        TIFFIN_INTERNAL__TOKEN=A_SECRET,
        OPENAI_API_KEY=A_SECRET,
        PGPASSWORD=A_SECRET,
        REDIS_PASSWORD=A_SECRET,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization={A_SECRET}",
    )
    assert not any(A_SECRET in p.read_text() for p in tmp_path.rglob("*.*"))
    entry, inner = environment(deployments["rag"]), environment(deployments["embedding"])
    references = {k: v["secretKeyRef"]["name"] for k, v in entry.items() if isinstance(v, dict)}
    assert references == {
        "TIFFIN_INTERNAL__TOKEN": "tiffin-internal",
        "OTEL_EXPORTER_OTLP_HEADERS": "tiffin-settings",
        "OPENAI_API_KEY": "tiffin-providers",
        "PGPASSWORD": "tiffin-stores",
        "REDIS_PASSWORD": "tiffin-stores",
    }
    assert "OPENAI_API_KEY" not in inner
    assert "PGPASSWORD" not in inner


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TIFFIN_ROUTING__COMPLEXITY_MODEL", "/srv/mine.bin", "is a path of this machine"),
        ("TIFFIN_CORPORA", "/srv/corpora", "is a path of this machine"),
        ("TIFFIN_CHUNKS", "s3://bucket/chunks", "set AWS_REGION, or AWS_ENDPOINT"),
        ("TIFFIN_CORPORA", "postgresql://tiffin@host/db", "set TIFFIN_CHUNKS=s3://BUCKET/PREFIX"),
        ("TIFFIN_TIERS__SMALL__ADAPTERS", '{"law": "/srv/law"}', "is a path of this machine"),
        ("TIFFIN_PROVIDERS", provider("http://u:p@host/v1"), "an address with a password"),
    ],
)
def test_a_variable_that_no_pod_could_be_given_is_refused_by_its_name(
    variable: str, value: str, says: str, tmp_path: Path
) -> None:
    words = ("--prometheus", PROMETHEUS, "--without-corpora")
    result = render(tmp_path, *words, **{**SHARED, variable: value})
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {variable}: ")
    assert says in result.output


@pytest.mark.parametrize(
    ("variables", "setting"),
    [
        ({"TIFFIN_PROVIDERS": provider("http://localhost:8000/v1")}, "providers.large.base_url"),
        ({"TIFFIN_ROUTING__LEDGER": "postgresql://tiffin@127.0.0.1/tiffin"}, "routing.ledger"),
        ({"TIFFIN_CACHE__REDIS": "unix:///run/redis.sock"}, "cache.redis"),
    ],
)
def test_an_address_of_this_machine_is_refused(
    variables: Mapping[str, str], setting: str, tmp_path: Path
) -> None:
    words = ("--prometheus", PROMETHEUS, "--without-corpora")
    result = render(tmp_path, *words, **{**SHARED, **variables})
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {setting}: ")
    assert "is an address of this machine" in result.output


def egress(folder: Path, service: str) -> dict[int, list[Any]]:
    """By port, whom the pods of a service may call; DNS and other services are left out."""
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests(folder, "NetworkPolicy")}
    rules = policies[f"tiffin-{service}"]["egress"][1:]
    ports = {rule["ports"][0]["port"]: rule["to"] for rule in rules}
    ports.pop(3000, None)
    return ports


def namespace(name: str) -> list[Any]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]


def test_pods_may_call_what_the_settings_name_and_nothing_else(tmp_path: Path) -> None:
    rendered(
        tmp_path,
        "--cidr=llm.example.com=10.2.0.0/16",
        TIFFIN_PROVIDERS=provider("https://llm.example.com:8443/v1"),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.tracing:4318",
    )
    assert egress(tmp_path, "rag") == {
        8443: [{"ipBlock": {"cidr": "10.2.0.0/16"}}],
        5432: namespace("data"),
        6379: namespace("data"),
        4318: namespace("tracing"),
    }
    assert egress(tmp_path, "embedding") == {4318: namespace("tracing")}


def test_a_provider_s_own_host_is_every_public_address_and_no_private_one(tmp_path: Path) -> None:
    rendered(tmp_path, TIFFIN_PROFILE="hybrid")
    four, six = egress(tmp_path, "rag")[443]
    assert four["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(four["ipBlock"]["except"])
    assert six["ipBlock"]["cidr"] == "::/0"


def test_an_unknown_host_is_said_to_be_public_unless_told(tmp_path: Path) -> None:
    words = ("--prometheus", PROMETHEUS, "--without-corpora")
    given = {**SHARED, "TIFFIN_CACHE__REDIS": "rediss://cache.example.com:6380/0"}
    assert "`--cidr cache.example.com=CIDR`" in render(tmp_path, *words, **given).stderr


def test_only_callers_and_prometheus_reach_an_inner_service(tmp_path: Path) -> None:
    write("kubernetes", plan_of(), tmp_path)
    for policy in manifests(tmp_path, "NetworkPolicy"):
        (rule,) = policy["spec"]["ingress"]
        if policy["metadata"]["name"] == "tiffin-rag":
            assert "from" not in rule
            continue
        caller, prometheus = rule["from"]
        labels = caller["podSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/component"] == "rag"
        assert [prometheus] == namespace("monitoring")


def test_replicas_that_would_not_share_their_state_are_refused_with_the_remedy(
    tmp_path: Path,
) -> None:
    result = render(tmp_path, "--prometheus", PROMETHEUS)
    assert result.exit_code == 1
    assert "up to 4 replicas of RAG would each have their own ledger, cache, corpora" in (
        result.output
    )
    for remedy in ("TIFFIN_ROUTING__LEDGER=postgresql://", "TIFFIN_CACHE__REDIS=redis://",
                   "TIFFIN_CORPORA=postgresql://", "TIFFIN_CHUNKS=s3://", "--without-corpora",
                   "TIFFIN_SCALING="):  # fmt: skip
        assert remedy in result.output
    assert not list(tmp_path.iterdir())


def test_replicas_may_share_corpora_in_a_database_and_on_object_storage(tmp_path: Path) -> None:
    objects = {"TIFFIN_CHUNKS": "s3://bucket/corpora", "AWS_ENDPOINT": "http://minio.storage:9000",
               "AWS_ALLOW_HTTP": "true", "AWS_SECRET_ACCESS_KEY": A_SECRET}  # fmt: skip
    shared = {**SHARED, **objects, "TIFFIN_CORPORA": "postgresql://tiffin@records.data:6432/tiffin"}
    words = ("--prometheus", PROMETHEUS)
    refused = render(tmp_path, *words, **SHARED, **objects)
    assert "would each have their own corpora: set TIFFIN_CORPORA=postgresql://" in refused.output
    result = render(tmp_path, *words, **shared)
    assert result.exit_code == 0, result.output
    assert not any(A_SECRET in path.read_text() for path in tmp_path.rglob("*.*"))
    assert not manifests(tmp_path, "PersistentVolumeClaim")
    entry = {m["metadata"]["name"]: m for m in manifests(tmp_path, "Deployment")}["tiffin-rag"]
    found = environment(entry)
    for variable in ("TIFFIN_CORPORA", "TIFFIN_CHUNKS", "AWS_ENDPOINT", "AWS_ALLOW_HTTP"):
        assert found[variable] == shared[variable]
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        assert found[key]["secretKeyRef"]["name"] == "tiffin-stores"
    reached = egress(tmp_path, "rag")
    assert (reached[9000], reached[6432]) == (namespace("storage"), namespace("data"))


def test_one_replica_keeps_its_state_on_a_volume_that_outlives_it(tmp_path: Path) -> None:
    scaling = {"TIFFIN_SCALING": '{"RAG": {"max": 1}}'}
    assert render(tmp_path, "--prometheus", PROMETHEUS, **scaling).exit_code == 0
    (claim,) = manifests(tmp_path, "PersistentVolumeClaim")
    entry = {m["metadata"]["name"]: m for m in manifests(tmp_path, "Deployment")}["tiffin-rag"]
    variables = environment(entry)
    assert variables["TIFFIN_ROUTING__LEDGER"].startswith("/var/lib/tiffin/")
    assert variables["TIFFIN_CORPORA"].startswith("/var/lib/tiffin/")
    assert entry["spec"]["replicas"] == 1
    assert entry["spec"]["strategy"] == {"type": "Recreate"}, "two pods cannot mount the volume"
    volumes = entry["spec"]["template"]["spec"]["volumes"]
    source = {"claimName": claim["metadata"]["name"]}
    assert {"name": "state", "persistentVolumeClaim": source} in volumes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--prometheus is needed, such as http://"),
        (("--prometheus", "prometheus:9090"), "--prometheus: 'prometheus:9090' is no address"),
        (("--prometheus", "https://prom.example.com"), "--scrapers is needed"),
        (("--prometheus", "none", "--name", "a" * 54), "has 54 characters; at most 53 fit"),
        (("--prometheus", "none", "--name", "Tiffin_1"), "is no name for Kubernetes"),
        (("--prometheus", "none", "--namespace", "-x"), "--namespace: '-x' is no name"),
        (("--prometheus", "none", "--image", "Tiffin:1"), "--image: 'Tiffin:1' is no image"),
        (("--prometheus", "none", "--image", "a:b:c"), "--image: 'a:b:c' is no image"),
        (("--prometheus", "none", "--cidr", "db"), "--cidr: 'db' is not HOST=CIDR"),
        (("--prometheus", "none", "--host", "x.example.com"), "--host needs --ingress-class or"),
        (("--prometheus", "none", "--ingress-class", "nginx"), "--host is needed"),
        (("--prometheus", "none", "--host", "a_b", "--ingress-class", "n"), "is no host name"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_line(
    words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    result = render(tmp_path, "--without-corpora", *words, **SHARED)
    assert result.exit_code == 1
    assert says in result.output
    assert result.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_for_kubernetes_is_refused_for_another_platform(tmp_path: Path) -> None:
    words = ["deploy", "render", "--target", "compose", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, [*words, "--namespace", "x"])
    assert "--namespace is for --target kubernetes only" in result.output


def test_without_prometheus_the_replicas_are_fixed(tmp_path: Path) -> None:
    write("kubernetes", plan_of(prometheus="none"), tmp_path)
    assert manifests(tmp_path, "ScaledObject", "HorizontalPodAutoscaler", "ServiceMonitor") == []
    replicas = {m["metadata"]["name"]: m["spec"]["replicas"] for m in
                manifests(tmp_path, "Deployment")}  # fmt: skip
    assert replicas["tiffin-rag"] == replicas["tiffin-router"] == 2
    assert replicas["tiffin-embedding"] == 1


def test_rendering_again_with_fewer_parts_removes_the_others(tmp_path: Path) -> None:
    write("kubernetes", plan_of(), tmp_path)
    write("kubernetes", plan_of(prometheus="none"), tmp_path)
    assert not (tmp_path / "keda/autoscalers.yaml").exists()
    (tmp_path / "mine.yaml").write_text("kind: Mine\n")
    with pytest.raises(SettingsError, match=r"mine\.yaml, which is not rendered here"):
        write("kubernetes", plan_of(), tmp_path)
