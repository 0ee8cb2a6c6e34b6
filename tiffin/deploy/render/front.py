"""Where clients come in: an Ingress, or a Gateway with its route, in front of the entry service.

Both end TLS with a Secret that the operator or cert-manager makes. Called by
`tiffin.deploy.render.kubernetes` if `--host` is given.
"""

from tiffin.config.services import ENTRY
from tiffin.deploy.render.cluster import Front
from tiffin.deploy.render.plan import PORT, Plan
from tiffin.deploy.render.pod import Manifest, labels

GATEWAY_API = "gateway.networking.k8s.io/v1"
READ_S = 900
"""Longer than any stream of ours lasts: nginx's own limit would cut one after a minute."""


def front(plan: Plan) -> list[Manifest]:
    """The manifests; none if no host is given."""
    made = plan.cluster.front
    if made is None:
        return []
    if made.gateway_class:
        return [_gateway(plan, made), _route(plan, made)]
    return [_ingress(plan, made)]


def _ingress(plan: Plan, made: Front) -> Manifest:
    manifest = _manifest("networking.k8s.io/v1", "Ingress", plan)
    backend = {"service": {"name": plan.host(ENTRY), "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    manifest["metadata"]["annotations"] = {
        # Other controllers leave these alone. nginx would hold a stream back, and refuse uploads.
        "nginx.ingress.kubernetes.io/proxy-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": str(READ_S),
        "nginx.ingress.kubernetes.io/proxy-body-size": str(_largest_body(plan)),
    }
    manifest["spec"] = {
        "ingressClassName": made.ingress_class,
        "tls": [{"hosts": [made.host], "secretName": made.secret}],
        "rules": [{"host": made.host, "http": {"paths": [path]}}],
    }
    return manifest


def _gateway(plan: Plan, made: Front) -> Manifest:
    manifest = _manifest(GATEWAY_API, "Gateway", plan)
    certificate = {"kind": "Secret", "name": made.secret}
    listener = {
        "name": "https",
        "hostname": made.host,
        "port": 443,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [certificate]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    manifest["spec"] = {"gatewayClassName": made.gateway_class, "listeners": [listener]}
    return manifest


def _route(plan: Plan, made: Front) -> Manifest:
    manifest = _manifest(GATEWAY_API, "HTTPRoute", plan)
    backend = {"name": plan.host(ENTRY), "port": PORT}
    manifest["spec"] = {
        "parentRefs": [{"name": plan.host(ENTRY), "sectionName": "https"}],
        "hostnames": [made.host],
        # No limit of its own: each request has its deadline, and a stream ends in time.
        "rules": [{"backendRefs": [backend], "timeouts": {"request": "0s"}}],
    }
    return manifest


def _largest_body(plan: Plan) -> int:
    limits = plan.settings.limits
    return max(limits.body_bytes, limits.file_bytes)


def _manifest(api: str, kind: str, plan: Plan) -> Manifest:
    metadata = {
        "name": plan.host(ENTRY),
        "namespace": plan.cluster.namespace,
        "labels": labels(plan, ENTRY),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata}
