"""The scaling specification as KEDA ScaledObjects, or as HPAs over prometheus-adapter.

Both watch the same queries. Rate and queue depth are divided among the replicas (AverageValue). A
latency is that of the whole service (Value): the replicas grow by its ratio to the target.

KEDA gets no `fallback`: while Prometheus is away, a fixed number could only be wrong, and without
one the replicas stay as they are.
"""

from urllib.parse import urlsplit

from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal
from tiffin.deploy.render.plan import Plan
from tiffin.deploy.render.pod import Manifest, labels
from tiffin.deploy.render.queries import SHARED, query, release


def scaled_object(plan: Plan, service: str) -> Manifest:
    """A ScaledObject, from which KEDA creates the HPA."""
    scaling = plan.services[service]
    triggers = [
        {
            "type": "prometheus",
            "name": signal.replace("_", "-"),
            "metricType": "AverageValue" if signal in SHARED else "Value",
            "metadata": {
                "serverAddress": plan.cluster.prometheus,
                "query": query(plan, service, signal),
                "threshold": f"{target:g}",
                "activationThreshold": "0",
                # No value is an error, and an error leaves the replicas alone.
                "ignoreNullValues": "false",
            },
        }
        for signal, target in scaling.signals.items()
    ]
    name = plan.host(service)
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "pollingInterval": 10,
        "cooldownPeriod": scaling.scale_down_window_s,
        "minReplicaCount": scaling.min,
        "maxReplicaCount": scaling.max,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
        "triggers": triggers,
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(plan, service),
        "spec": spec,
    }


def hpa(plan: Plan, service: str) -> Manifest:
    """An HPA over external metrics, which needs at least one replica to scale from."""
    scaling = plan.services[service]
    metrics = [
        {
            "type": "External",
            "external": {
                "metric": {"name": _metric(plan, service, signal)},
                "target": {"type": "AverageValue", "averageValue": _quantity(target)}
                if signal in SHARED
                else {"type": "Value", "value": _quantity(target)},
            },
        }
        for signal, target in scaling.signals.items()
    ]
    name = plan.host(service)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(plan, service),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": max(1, scaling.min),
            "maxReplicas": scaling.max,
            "metrics": metrics,
            "behavior": _behavior(scaling),
        },
    }


def adapter_values(plan: Plan) -> Manifest:
    """The metrics that the HPAs name, as values of prometheus-adapter's chart."""
    rules = [
        {
            "seriesQuery": f"up{{{release(plan)}}}",
            "resources": {"namespaced": False},
            "name": {"as": _metric(plan, service, signal)},
            "metricsQuery": query(plan, service, signal),
        }
        for service, scaling in plan.services.items()
        for signal in scaling.signals
    ]
    address = urlsplit(plan.cluster.prometheus)
    port = {"port": address.port} if address.port else {}
    url = f"{address.scheme}://{address.hostname}"
    path = {"path": address.path} if address.path else {}
    return {"prometheus": {"url": url, **port, **path}, "rules": {"external": rules}}


def _metadata(plan: Plan, service: str) -> Manifest:
    return {
        "name": plan.host(service),
        "namespace": plan.cluster.namespace,
        "labels": labels(plan, service),
    }


def _metric(plan: Plan, service: str, signal: Signal) -> str:
    """A name of its own in the cluster, for which one prometheus-adapter serves all releases."""
    return "_".join((plan.cluster.namespace, plan.host(service), signal)).replace("-", "_")


def _quantity(value: float) -> str:
    """A number as Kubernetes writes it: whole, or in thousandths."""
    return f"{value:.0f}" if value == int(value) else f"{round(value * 1000)}m"


def _behavior(scaling: Scaling) -> Manifest:
    """Scale up by doubling or by two replicas, down by one a minute after a quiet window."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": scaling.scale_up_window_s,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 30},
                {"type": "Pods", "value": 2, "periodSeconds": 30},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scaling.scale_down_window_s,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        },
    }
