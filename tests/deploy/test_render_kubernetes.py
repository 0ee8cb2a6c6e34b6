"""The Kubernetes files hold to the official schemas, and to what we promise about them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tiffin.config.settings import Settings, load_settings
from tiffin.config.topology import dependencies
from tiffin.deploy.render import write
from tiffin.deploy.render.plan import Plan
from tiffin.telemetry import metrics

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.30"
CUSTOM = ("ScaledObject", "ServiceMonitor")
PROMETHEUS_SCALER = {
    "serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues",
    "namespace", "customHeaders", "queryParameters", "unsafeSsl", "timeout", "authModes",
}  # fmt: skip
"""What KEDA documents for this scaler; its CRD takes any text there."""
Manifest = dict[str, Any]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With every service, the large tier on a part of a GPU."""
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__GPUS", "0.5")
    return load_settings()


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    write("kubernetes", Plan(settings, "registry.example/tiffin:1"), tmp_path / "k8s")
    return tmp_path / "k8s"


def manifests(folder: Path, *kinds: str) -> list[Manifest]:
    found = [
        document
        for path in sorted(folder.rglob("*.yaml"))
        if path.name != "prometheus-adapter-values.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]
    return [document for document in found if not kinds or document["kind"] in kinds]


def check_custom(manifest: Manifest) -> None:
    """Against the CRD of the resource."""
    schema = json.loads((SCHEMAS / f"{manifest['kind']}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize("profile", ["laptop", "hybrid", "gpu", "multi-gpu"])
def test_every_manifest_holds_to_its_schema(profile: str, tmp_path: Path) -> None:
    checked = 0
    write("kubernetes", Plan(load_settings(profile=profile), "image:1"), tmp_path)
    for manifest in manifests(tmp_path):
        if manifest["kind"] in CUSTOM:
            check_custom(manifest)
        elif manifest["kind"] != "Kustomization":
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        checked += 1
    assert checked > 30


def test_a_typo_would_be_noticed(folder: Path) -> None:
    deployment = manifests(folder, "Deployment")[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)
    (monitor,) = manifests(folder, "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["authorisation"] = {}
    with pytest.raises(jsonschema.ValidationError, match="'authorisation' was unexpected"):
        check_custom(monitor)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("maxReplicaCount",), "4", "is not of type 'integer'"),
        (("minReplicas",), 1, "'minReplicas' was unexpected"),
        (("advanced", "horizontalPodAutoscalerConfig", "behaviour"), {}, "'behaviour' was unex"),
    ],
)
def test_a_mistake_in_a_scaled_object_would_be_noticed(
    folder: Path, path: tuple[str, ...], value: object, says: str
) -> None:
    scaled = manifests(folder, "ScaledObject")[0]
    place = scaled["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError, match=says):
        check_custom(scaled)


def test_the_triggers_say_what_keda_s_prometheus_scaler_reads(folder: Path) -> None:
    for scaled in manifests(folder, "ScaledObject"):
        names = [trigger["name"] for trigger in scaled["spec"]["triggers"]]
        assert len(names) == len(set(names))
        for trigger in scaled["spec"]["triggers"]:
            assert trigger["type"] == "prometheus"
            assert {"serverAddress", "query", "threshold"} <= trigger["metadata"].keys()
            assert trigger["metadata"].keys() <= PROMETHEUS_SCALER
            assert float(trigger["metadata"]["threshold"]) > 0


def test_each_service_has_each_of_its_objects(folder: Path, settings: Settings) -> None:
    names = {"tiffin-rag", "tiffin-embedding", "tiffin-reranker", "tiffin-router"}
    names |= {"tiffin-safety", "tiffin-small-llm", "tiffin-large-llm"}
    assert len(names) == len(dependencies(settings))
    for kind in (
        "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy",
        "ScaledObject", "HorizontalPodAutoscaler",
    ):  # fmt: skip
        assert {m["metadata"]["name"] for m in manifests(folder, kind)} == names, kind


def test_pods_are_locked_down_and_probed(folder: Path) -> None:
    for deployment in manifests(folder, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert "replicas" not in deployment["spec"], "the autoscaler's number must survive"


def test_secrets_are_named_never_written(folder: Path) -> None:
    for deployment in manifests(folder, "Deployment"):
        environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        (token,) = [e for e in environment if e["name"] == "TIFFIN_INTERNAL__TOKEN"]
        assert token["valueFrom"]["secretKeyRef"] == {"name": "tiffin-internal", "key": "token"}


def test_the_entry_service_alone_is_given_the_keys_of_clients(folder: Path) -> None:
    given = {}
    for deployment in manifests(folder, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        variables = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
        secrets = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
        given[deployment["metadata"]["name"]] = (
            variables.get("TIFFIN_ACCESS__KEYS_FILE"),
            secrets,
        )
    assert given.pop("tiffin-rag") == ("/etc/tiffin/keys.json", ["tiffin-keys"])
    assert set(map(str, given.values())) == {"(None, [])"}


def test_only_callers_and_prometheus_reach_an_inner_service(folder: Path) -> None:
    for policy in manifests(folder, "NetworkPolicy"):
        (rule,) = policy["spec"]["ingress"]
        if policy["metadata"]["name"] == "tiffin-rag":
            continue
        caller, monitoring = rule["from"]
        labels = caller["podSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/component"] == "rag"
        assert "namespaceSelector" in monitoring


def test_a_part_of_a_gpu_becomes_a_whole_one(folder: Path) -> None:
    limits = {
        deployment["metadata"]["name"]: deployment["spec"]["template"]["spec"]["containers"][0][
            "resources"
        ]["limits"]
        for deployment in manifests(folder, "Deployment")
    }
    assert limits["tiffin-large-llm"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits["tiffin-small-llm"]


def test_a_model_cut_over_gpus_gets_shared_memory_and_a_node_that_has_them(tmp_path: Path) -> None:
    write("kubernetes", Plan(load_settings(profile="multi-gpu"), "image:1"), tmp_path)
    tolerant, shared = [], []
    for deployment in manifests(tmp_path, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        if "tolerations" in pod:
            tolerant.append(pod["containers"][0]["name"])
        mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        if "/dev/shm" in mounts:
            shared.append(pod["containers"][0]["name"])
    assert (tolerant, shared) == (["small-llm", "large-llm"], ["large-llm"])


def test_what_may_sleep_is_woken_by_its_callers_metric(folder: Path) -> None:
    objects = {m["metadata"]["name"]: m["spec"] for m in manifests(folder, "ScaledObject")}
    assert objects["tiffin-large-llm"]["minReplicaCount"] == 0
    queries = [t["metadata"]["query"] for t in objects["tiffin-large-llm"]["triggers"]]
    assert any('tiffin_calls_total{service="LargeLLM"}' in query for query in queries)
    assert all(spec["minReplicaCount"] > 0 for n, spec in objects.items() if "large" not in n)


def test_every_metric_that_is_watched_exists(folder: Path) -> None:
    text = "".join(path.read_text() for path in folder.rglob("*.yaml"))
    watched = set(re.findall(r"tiffin_[a-z_]+(?=\{)", text))
    ours = {
        f"{metric.name}{suffix}"
        for collector in vars(metrics).values()
        if isinstance(collector, MetricWrapperBase)
        for metric in collector.collect()
        for suffix in ("", "_total", "_bucket")
    }
    assert watched
    assert watched <= ours


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", ["base", "keda", "hpa"])
def test_kustomize_builds_it(folder: Path, overlay: str) -> None:
    command = ["kubectl", "kustomize", str(folder / overlay)]
    built = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kinds = [document["kind"] for document in yaml.safe_load_all(built)]
    assert kinds.count("Deployment") == 7
    assert kinds.count({"keda": "ScaledObject", "hpa": "HorizontalPodAutoscaler"}.get(overlay)) == (
        0 if overlay == "base" else 7
    )
