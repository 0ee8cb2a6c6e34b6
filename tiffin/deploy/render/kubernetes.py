"""Kubernetes: a kustomize base with one Deployment for each service, and three ways to scale it.

`fixed` gives each service its least number of replicas; `keda` and `hpa` each add an autoscaler for
each service that may have more (apply one of the three). Our transport opens one connection for
each request, so a Kubernetes Service balances the requests evenly and no mesh is needed
(docs/decisions/0071). `tiffin.deploy.render.helm` writes the same manifests as a chart.
"""

from dataclasses import replace

from tiffin.config.scaling import Scaling
from tiffin.config.services import ENTRY
from tiffin.deploy.render.autoscaling import adapter_values, hpa, scaled_object
from tiffin.deploy.render.cluster import check_image, check_name, check_namespace
from tiffin.deploy.render.front import front
from tiffin.deploy.render.network import policy
from tiffin.deploy.render.plan import PORT, Plan, to_yaml
from tiffin.deploy.render.pod import Manifest, asks_for_keys, claim, labels, pod, secret
from tiffin.deploy.render.queries import TARGET_LABELS
from tiffin.deploy.render.shared import check_shared, on_a_volume

COMMENT = "Made by `tiffin deploy render --target kubernetes`: change the profile, render again."
TWO = (ENTRY, "Router")
"""Services that every request needs and whose replica costs little: two, so that one may go."""
STATE_SIZE = "10Gi"
"""Of the volume of a single entry service."""
FIXED, KEDA, HPA = "fixed", "keda", "hpa"

Files = dict[str, list[Manifest]]


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths. Raises SettingsError for what could not run as it is asked for."""
    plan = prepared(plan)
    objects = base(plan)
    files = {f"base/{name}": to_yaml(*docs, comment=COMMENT) for name, docs in objects.items()}
    files["base/kustomization.yaml"] = _kustomization(list(objects))
    scaled = {name: how for name, how in plan.services.items() if scales(plan, name)}
    counts = [{"name": plan.host(name), "count": least(how)} for name, how in scaled.items()]
    files[f"{FIXED}/kustomization.yaml"] = _kustomization(["../base"], replicas=counts)
    for folder, documents in autoscalers(plan).items():
        files[f"{folder}/autoscalers.yaml"] = to_yaml(*documents, comment=COMMENT)
        files[f"{folder}/kustomization.yaml"] = _kustomization(["../base", "autoscalers.yaml"])
    if plan.cluster.scaled:
        comment = f"{COMMENT}\nValues for the Helm chart of prometheus-adapter, not a manifest."
        files[f"{HPA}/prometheus-adapter-values.yaml"] = to_yaml(
            adapter_values(plan), comment=comment
        )
    return files


def prepared(plan: Plan) -> Plan:
    """The plan with two replicas of what every request needs, once its names and state are checked.

    A profile whose `max` is 1 keeps one.
    """
    check_name(plan.name)
    check_namespace(plan.cluster.namespace)
    check_image(plan.image)
    check_shared(plan)
    scaling = {
        name: how.model_copy(update={"min": max(how.min, min(2, how.max))}) if name in TWO else how
        for name, how in plan.services.items()
    }
    return replace(plan, settings=plan.settings.model_copy(update={"scaling": scaling}))


def base(plan: Plan) -> Files:
    """What runs without autoscalers, by file."""
    names = list(plan.services)
    files = {
        "deployments.yaml": [_deployment(plan, name) for name in names],
        "services.yaml": [_service(plan, name) for name in names],
        "disruption-budgets.yaml": [_budget(plan, name) for name in names],
        "network-policies.yaml": [_policy(plan, name) for name in names],
        "service-monitor.yaml": [_monitor(plan)] if plan.cluster.scaled else [],
        "state.yaml": [_claim(plan)] if on_a_volume(plan) else [],
        "front.yaml": front(plan),
    }
    return {name: documents for name, documents in files.items() if documents}


def autoscalers(plan: Plan) -> Files:
    """The autoscalers of each kind; none if no Prometheus can tell them the load."""
    names = [name for name in plan.services if scales(plan, name)]
    if not names:
        return {}
    return {
        KEDA: [scaled_object(plan, name) for name in names],
        HPA: [hpa(plan, name) for name in names],
    }


def scales(plan: Plan, name: str) -> bool:
    """Whether an autoscaler sets the number of a service's replicas."""
    how = plan.services[name]
    return plan.cluster.scaled and how.max > how.min


def least(how: Scaling) -> int:
    """Replicas of a service that no autoscaler starts."""
    return max(1, how.min)


def _kustomization(resources: list[str], **more: object) -> str:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return to_yaml({**kind, "resources": resources, **more}, comment=COMMENT)


def _manifest(api: str, kind: str, plan: Plan, name: str, spec: Manifest) -> Manifest:
    """What Kubernetes keeps under this kind for one service."""
    metadata = {
        "name": plan.host(name),
        "namespace": plan.cluster.namespace,
        "labels": labels(plan, name),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _deployment(plan: Plan, name: str) -> Manifest:
    scaling = plan.services[name]
    alone = name == ENTRY and bool(on_a_volume(plan))
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    # If there is an autoscaler, the number that it set must survive the next apply.
    replicas = {} if scales(plan, name) else {"replicas": least(scaling)}
    spec = {
        **replicas,
        "selector": {"matchLabels": labels(plan, name)},
        # A volume that one node writes cannot have two pods.
        "strategy": {"type": "Recreate"} if alone else rolling,
        "minReadySeconds": 5,
        "progressDeadlineSeconds": max(600, int(10 * scaling.start_s)),
        "template": {"metadata": {"labels": labels(plan, name)}, "spec": pod(plan, name)},
    }
    return _manifest("apps/v1", "Deployment", plan, name, spec)


def _service(plan: Plan, name: str) -> Manifest:
    spec = {
        "type": "ClusterIP",
        "selector": labels(plan, name),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
    }
    return _manifest("v1", "Service", plan, name, spec)


def _budget(plan: Plan, name: str) -> Manifest:
    spec = {
        # Not `minAvailable`: with one replica, or all of them wanted, a drain would never end.
        "maxUnavailable": 1,
        # Nor does a pod that never becomes ready keep its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": labels(plan, name)},
    }
    return _manifest("policy/v1", "PodDisruptionBudget", plan, name, spec)


def _policy(plan: Plan, name: str) -> Manifest:
    return _manifest("networking.k8s.io/v1", "NetworkPolicy", plan, name, policy(plan, name))


def _claim(plan: Plan) -> Manifest:
    """The volume of a single entry service. It stays when the Deployment goes."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": STATE_SIZE}},
    }
    made = _manifest("v1", "PersistentVolumeClaim", plan, ENTRY, spec)
    made["metadata"]["name"] = claim(plan)
    return made


def _monitor(plan: Plan) -> Manifest:
    release = {key: value for key, value in labels(plan, ENTRY).items() if "component" not in key}
    endpoint: Manifest = {"port": "http", "path": "/metrics", "interval": "15s"}
    # Our metrics have a label `service`: without this it would be renamed, and nothing would scale.
    endpoint["honorLabels"] = True
    if asks_for_keys(plan, ENTRY):
        # The entry service asks for a key there too; the other services ignore it.
        key = {"name": secret(plan, "keys"), "key": "metrics"}
        endpoint["authorization"] = {"credentials": key}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {
            "name": plan.name,
            "namespace": plan.cluster.namespace,
            "labels": release,
        },
        "spec": {
            "selector": {"matchLabels": release},
            "targetLabels": list(TARGET_LABELS),
            "endpoints": [endpoint],
        },
    }
