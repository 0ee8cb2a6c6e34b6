"""The PromQL queries that services scale on, for `tiffin.deploy.render.autoscaling`.

Every query selects the namespace and the release. It is 0 only if a replica was scraped and had
nothing to do; if none could be scraped it gives nothing, and the autoscalers leave the number of
replicas as it is. A replica that was scraped before and is not now counts as much as the others do,
because an overloaded one may answer Prometheus too late.
"""

from tiffin.config.services import ENTRY, Signal
from tiffin.deploy.render.plan import Plan, slug

SHARED: frozenset[Signal] = frozenset({"request_rate_per_s", "queue_depth"})
"""Signals that are divided among the replicas."""
TARGET_LABELS = ("app.kubernetes.io/instance", "app.kubernetes.io/component")
"""Labels of a Service that its series get: the release, and which service it is."""
REMEMBERED = "1h"
"""A replica that was scraped within this time and is not now is lost from sight, not starting."""


def query(plan: Plan, service: str, signal: Signal) -> str:
    """The PromQL query for a signal of a service: one value, or nothing if nobody can tell."""
    # While no replica runs, only the callers can tell that one is wanted.
    sleeps = plan.services[service].min == 0
    asked = sleeps and signal == "request_rate_per_s"
    value = _observed(plan, service, signal, by_callers=asked)
    if not sleeps or asked:
        return value
    asleep = f"0 * {_seen(plan, ENTRY)} unless count(up{_pods(plan, service)})"
    return f"({value}) or ({asleep})"


def _observed(plan: Plan, service: str, signal: Signal, *, by_callers: bool) -> str:
    """What the replicas tell. A replica lost from sight counts as much as the others do."""
    series = f'{{{release(plan)},service="{service}"}}'
    seen = _seen(plan, ENTRY if by_callers else service)
    known = _known(plan, ENTRY if by_callers else service)
    if signal == "gpu_percent":
        return _gpu(plan, service)
    if signal in SHARED:
        counter = f"tiffin_{'calls' if by_callers else 'service_requests'}_total"
        rate = f"rate({counter}{series}[1m])"
        total = f"sum({rate if signal == 'request_rate_per_s' else f'tiffin_in_work{series}'})"
        return f"({total} or 0 * {seen}) * {known} / {seen}"
    buckets = f"sum by (le) (rate(tiffin_service_seconds_bucket{series}[2m]))"
    # Without requests the quantile is NaN, which is not above 0.
    return f"(1000 * histogram_quantile(0.95, {buckets}) > 0 or 0 * {seen}) and {seen}"


def _gpu(plan: Plan, service: str) -> str:
    """NVIDIA's exporter names the pods itself; Prometheus may rename its labels."""
    pods = f"{plan.host(service)}-.*"
    namespace = plan.cluster.namespace
    renamed = f'DCGM_FI_DEV_GPU_UTIL{{exported_namespace="{namespace}",exported_pod=~"{pods}"}}'
    kept = f'DCGM_FI_DEV_GPU_UTIL{{namespace="{namespace}",pod=~"{pods}"}}'
    return f"avg({renamed} or {kept})"


def _seen(plan: Plan, service: str) -> str:
    """How many replicas were scraped just now; nothing if none was."""
    return f"count(up{_pods(plan, service)} == 1)"


def _known(plan: Plan, service: str) -> str:
    """How many replicas there are that were ever scraped, and so can be at work."""
    up = f"up{_pods(plan, service)}"
    return f"count({up} and max_over_time({up}[{REMEMBERED}]) == 1)"


def _pods(plan: Plan, service: str) -> str:
    return f'{{{release(plan)},app_kubernetes_io_component="{slug(service)}"}}'


def release(plan: Plan) -> str:
    """The labels of every series of a release."""
    return f'namespace="{plan.cluster.namespace}",app_kubernetes_io_instance="{plan.name}"'
