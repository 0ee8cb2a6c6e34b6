"""The Kubernetes files hold to the official schemas, and to what we promise about them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tests.support.rendering import Manifest, manifests, plan_of
from tiffin.config.topology import dependencies
from tiffin.deploy.render import write
from tiffin.deploy.render.cluster import Front
from tiffin.deploy.render.plan import Plan
from tiffin.telemetry import metrics

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.27"
"""The oldest that docs/deploy/kubernetes.md promises; test_render_helm.py takes the newest."""
CUSTOM = ("ScaledObject", "ServiceMonitor")
PROMETHEUS_SCALER = {
    "serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues",
    "namespace", "customHeaders", "queryParameters", "unsafeSsl", "timeout", "authModes",
}  # fmt: skip
"""What KEDA documents for this scaler; its CRD takes any text there."""


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """With every service, the large tier on a part of a GPU."""
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__GPUS", "0.5")
    return plan_of()


@pytest.fixture
def folder(plan: Plan, tmp_path: Path) -> Path:
    write("kubernetes", plan, tmp_path / "k8s")
    return tmp_path / "k8s"


def check_custom(manifest: Manifest) -> None:
    """Against the CRD of the resource."""
    schema = json.loads((SCHEMAS / f"{manifest['kind']}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize("profile", ["laptop", "hybrid", "gpu", "multi-gpu"])
def test_every_manifest_holds_to_its_schema(profile: str, tmp_path: Path) -> None:
    checked = 0
    front = Front("rag.example.com", "tiffin-tls", ingress_class="nginx")
    write("kubernetes", plan_of(profile, front=front), tmp_path)
    for manifest in manifests(tmp_path):
        if manifest["kind"] in CUSTOM:
            check_custom(manifest)
        elif manifest["kind"] != "Kustomization":
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            assert manifest["metadata"]["namespace"] == "tiffin"
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


def test_each_service_has_each_of_its_objects(folder: Path, plan: Plan) -> None:
    names = {"tiffin-rag", "tiffin-embedding", "tiffin-reranker", "tiffin-router"}
    names |= {"tiffin-safety", "tiffin-small-llm", "tiffin-large-llm"}
    assert len(names) == len(dependencies(plan.settings))
    for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        assert {m["metadata"]["name"] for m in manifests(folder, kind)} == names, kind
    for kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        scaled = {m["metadata"]["name"] for m in manifests(folder, kind)}
        assert scaled == names - {"tiffin-router"}, "it has two, and may have no more"


def test_pods_are_locked_down_and_probed(folder: Path) -> None:
    for deployment in manifests(folder, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert all("sizeLimit" in v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v)


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
    write("kubernetes", plan_of("multi-gpu"), tmp_path)
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
    assert any(re.search(r'tiffin_calls_total\{.*service="LargeLLM"\}', query) for query in queries)
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
@pytest.mark.parametrize(("overlay", "kind"), [
    ("fixed", None), ("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler"),
])  # fmt: skip
def test_kustomize_builds_it(folder: Path, overlay: str, kind: str | None) -> None:
    command = ["kubectl", "kustomize", str(folder / overlay)]
    built = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    documents = list(yaml.safe_load_all(built))
    kinds = [document["kind"] for document in documents]
    assert kinds.count("Deployment") == 7
    assert kinds.count(str(kind)) == (0 if kind is None else 6)
    counts = {d["metadata"]["name"]: d["spec"].get("replicas") for d in documents
              if d["kind"] == "Deployment"}  # fmt: skip
    assert counts["tiffin-router"] == 2
    # An autoscaler's number must survive the next apply.
    assert counts["tiffin-rag"] == (2 if overlay == "fixed" else None)


def test_a_drain_can_move_one_pod_of_each_service_and_leaves_the_entry_one(folder: Path) -> None:
    """What the disruption controller computes: healthy pods minus those that must stay."""
    least = {m["metadata"]["name"]: m["spec"]["minReplicaCount"] for m in
             manifests(folder, "ScaledObject")} | {"tiffin-router": 2}  # fmt: skip
    for budget in manifests(folder, "PodDisruptionBudget"):
        wanted = max(1, least[budget["metadata"]["name"]])
        must_stay = wanted - budget["spec"]["maxUnavailable"]
        assert wanted - must_stay >= 1, "a drain would wait for ever"
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        if budget["metadata"]["name"] in ("tiffin-rag", "tiffin-router"):
            assert must_stay >= 1, "a drain would stop every question"


@pytest.mark.parametrize("profile", ["laptop", "multi-gpu"])
def test_a_part_that_occurs_twice_is_written_twice(profile: str, tmp_path: Path) -> None:
    """Not as an anchor, which many tools that read manifests do not take."""
    write("kubernetes", plan_of(profile), tmp_path)
    anchors = re.compile(r"^\s*(?:- |\S+: )?[&*]id\d", re.MULTILINE)
    assert not any(anchors.search(path.read_text()) for path in tmp_path.rglob("*.yaml"))


def test_a_gateway_is_rendered_with_its_route_and_certificate(tmp_path: Path) -> None:
    front = Front("rag.example.com", "our-tls", gateway_class="istio")
    write("kubernetes", plan_of(front=front), tmp_path)
    (gateway,) = manifests(tmp_path, "Gateway")
    (listener,) = gateway["spec"]["listeners"]
    assert listener["protocol"] == "HTTPS"
    assert listener["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "our-tls"}]
    (route,) = manifests(tmp_path, "HTTPRoute")
    assert route["spec"]["parentRefs"][0]["name"] == gateway["metadata"]["name"]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "tiffin-rag", "port": 3000}]


def test_two_releases_in_a_namespace_share_no_object_label_or_secret(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        write("kubernetes", plan_of("hybrid", name=name), tmp_path / name)
        every = manifests(tmp_path / name)
        selectors = {json.dumps(m["spec"]["selector"]) for m in every if "selector" in
                     m.get("spec", {})}  # fmt: skip
        secrets = set(
            re.findall(
                r"(?:secretName: |secretKeyRef:\n\s+name: )(\S+)",
                (tmp_path / name / "base/deployments.yaml").read_text(),
            )
        )
        named = {(m["kind"], m["metadata"]["name"]) for m in every if "metadata" in m}
        found.append(named | selectors | secrets)
    assert found[0].isdisjoint(found[1])


def test_pods_have_the_time_to_drain_that_the_settings_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIFFIN_RESILIENCE__SUPERVISION__DRAIN_MS", "120000")
    write("kubernetes", plan_of(), tmp_path)
    for deployment in manifests(tmp_path, "Deployment"):
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 130
