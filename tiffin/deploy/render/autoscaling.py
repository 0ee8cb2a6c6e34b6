"""The scaling specification as KEDA ScaledObjects, or as HPAs over prometheus-adapter.

Both watch the same queries. Rate and queue depth are divided among the replicas (AverageValue). A
latency is that of the whole service (Value): the replicas grow by its ratio to the target.
"""

from typing import Any

from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal
from tiffin.deploy.render.plan import Plan, slug

PROMETHEUS = "http://prometheus-operated.monitoring:9090"
SHARED: frozenset[Signal] = frozenset({"request_rate_per_s", "queue_depth"})
Manifest = dict[str, Any]


def query(plan: Plan, service: str, signal: Signal) -> str:
    """The PromQL query for a signal of a service; it gives 0 while there is nothing to measure."""
    only = f'{{service="{service}"}}'
    p95 = f"histogram_quantile(0.95, sum by (le) (rate(tiffin_service_seconds_bucket{only}[2m])))"
    # While no replica runs, only the callers can tell that one is wanted.
    asked = "calls" if plan.services[service].min == 0 else "service_requests"
    text = {
        "request_rate_per_s": f"sum(rate(tiffin_{asked}_total{only}[1m]))",
        "queue_depth": f"sum(tiffin_in_work{only})",
        "latency_p95_ms": f"1000 * {p95}",
        "first_token_p95_ms": f"1000 * {p95}",
        "gpu_percent": f'avg(DCGM_FI_DEV_GPU_UTIL{{pod=~"{plan.name}-{slug(service)}-.*"}})',
    }[signal]
    return f"({text} > 0) or vector(0)"


def scaled_object(plan: Plan, service: str) -> Manifest:
    """A ScaledObject, from which KEDA creates the HPA."""
    scaling = plan.services[service]
    triggers = [
        {
            "type": "prometheus",
            "name": signal.replace("_", "-"),
            "metricType": "AverageValue" if signal in SHARED else "Value",
            "metadata": {
                "serverAddress": PROMETHEUS,
                "query": query(plan, service, signal),
                "threshold": f"{target:g}",
                "activationThreshold": "0",
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
        # An outage of Prometheus is no reason to stop replicas.
        "fallback": {"failureThreshold": 3, "replicas": max(1, scaling.min)},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
        "triggers": triggers,
    }
    if any(signal not in SHARED for signal in scaling.signals):
        del spec["fallback"]  # KEDA supports it only for metrics of type AverageValue
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
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
        "metadata": {"name": name},
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
            "seriesQuery": "tiffin_service_requests_total",
            "resources": {"namespaced": False},
            "name": {"as": _metric(plan, service, signal)},
            "metricsQuery": query(plan, service, signal),
        }
        for service, scaling in plan.services.items()
        for signal in scaling.signals
    ]
    return {"prometheus": {"url": PROMETHEUS.rsplit(":", 1)[0]}, "rules": {"external": rules}}


def _metric(plan: Plan, service: str, signal: Signal) -> str:
    return f"{plan.name}_{slug(service).replace('-', '_')}_{signal}"


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
