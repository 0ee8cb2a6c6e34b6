"""Kubernetes: a kustomize base with one Deployment for each service, and two ways to scale it.

`base` runs by itself; `keda` and `hpa` each add one autoscaler for each service (never apply both).
Our transport opens one connection for each request, so a Kubernetes Service balances the requests
evenly and no mesh is needed (docs/decisions/0071).
"""

from tiffin.config.services import ENTRY
from tiffin.deploy.render.autoscaling import adapter_values, hpa, scaled_object
from tiffin.deploy.render.plan import PORT, Plan, slug, to_yaml
from tiffin.deploy.render.pod import KEYS_SECRET, Manifest, pod

COMMENT = "Made by `tiffin deploy render --target kubernetes`: change the profile, render again."


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    base = {
        "deployments.yaml": [_deployment(plan, name) for name in plan.services],
        "services.yaml": [_service(plan, name) for name in plan.services],
        "disruption-budgets.yaml": [_budget(plan, name) for name in plan.services],
        "network-policies.yaml": [_policy(plan, name) for name in plan.services],
        "service-monitor.yaml": [_monitor(plan)],
    }
    files = {f"base/{name}": to_yaml(*docs, comment=COMMENT) for name, docs in base.items()}
    files["base/kustomization.yaml"] = _kustomization(list(base))
    objects = [scaled_object(plan, name) for name in plan.services]
    files["keda/scaled-objects.yaml"] = to_yaml(*objects, comment=COMMENT)
    files["keda/kustomization.yaml"] = _kustomization(["../base", "scaled-objects.yaml"])
    hpas = [hpa(plan, name) for name in plan.services]
    files["hpa/autoscalers.yaml"] = to_yaml(*hpas, comment=COMMENT)
    files["hpa/kustomization.yaml"] = _kustomization(["../base", "autoscalers.yaml"])
    comment = (
        f"{COMMENT}\nThese are values for the Helm chart of prometheus-adapter, not a manifest."
    )
    files["hpa/prometheus-adapter-values.yaml"] = to_yaml(adapter_values(plan), comment=comment)
    return files


def _kustomization(resources: list[str]) -> str:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return to_yaml({**kind, "resources": resources}, comment=COMMENT)


def _manifest(api: str, kind: str, plan: Plan, name: str, spec: Manifest) -> Manifest:
    """What Kubernetes keeps under this kind for one service."""
    metadata = {"name": plan.host(name), "labels": _labels(plan, name)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _labels(plan: Plan, name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": plan.name, "app.kubernetes.io/component": slug(name)}


def _deployment(plan: Plan, name: str) -> Manifest:
    scaling, labels = plan.services[name], _labels(plan, name)
    spec = {
        # No `replicas` here: the number that the autoscaler set must survive the next apply.
        "selector": {"matchLabels": labels},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "minReadySeconds": 5,
        "progressDeadlineSeconds": max(600, int(10 * scaling.start_s)),
        "template": {"metadata": {"labels": labels}, "spec": pod(plan, name, labels)},
    }
    return _manifest("apps/v1", "Deployment", plan, name, spec)


def _service(plan: Plan, name: str) -> Manifest:
    spec = {
        "type": "ClusterIP",
        "selector": _labels(plan, name),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
    }
    return _manifest("v1", "Service", plan, name, spec)


def _budget(plan: Plan, name: str) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(plan, name)}}
    return _manifest("policy/v1", "PodDisruptionBudget", plan, name, spec)


def _policy(plan: Plan, name: str) -> Manifest:
    """Let in callers and Prometheus only, and let out calls of other services and DNS only.

    The entry service may also reach port 443 anywhere, because providers' addresses change.
    """
    callers = [other for other in plan.services if name in plan.calls(other)]
    allowed: list[Manifest] = [_pods(plan, caller) for caller in callers]
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    allowed.append({"namespaceSelector": {"matchLabels": monitoring}})
    http = [{"protocol": "TCP", "port": PORT}]
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    ingress = [{"ports": http}] if name == ENTRY else [{"from": allowed, "ports": http}]
    egress: list[Manifest] = [{"ports": dns}]
    if plan.calls(name):
        egress.append({"to": [_pods(plan, callee) for callee in plan.calls(name)], "ports": http})
    if name == ENTRY and plan.settings.providers:
        egress.append({"ports": [{"protocol": "TCP", "port": 443}]})
    spec = {
        "podSelector": {"matchLabels": _labels(plan, name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return _manifest("networking.k8s.io/v1", "NetworkPolicy", plan, name, spec)


def _pods(plan: Plan, name: str) -> Manifest:
    return {"podSelector": {"matchLabels": _labels(plan, name)}}


def _monitor(plan: Plan) -> Manifest:
    labels = {"app.kubernetes.io/name": plan.name}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": plan.name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            # The entry service asks for a key there too; the other services ignore it.
            "endpoints": [
                {
                    "port": "http",
                    "path": "/metrics",
                    "interval": "15s",
                    "authorization": {"credentials": {"name": KEYS_SECRET, "key": "metrics"}},
                }
            ],
        },
    }
