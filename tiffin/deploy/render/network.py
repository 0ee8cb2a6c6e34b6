"""NetworkPolicies: who may call a service, and whom it may call, as the settings name it.

A policy sees the pods behind a Service, so a port is the pod's: if a Service of the cluster maps
another one, write the address with the pod's port (docs/deploy/kubernetes.md).
"""

from urllib.parse import urlsplit

from tiffin.config.section import SettingsError
from tiffin.config.services import ENTRY
from tiffin.deploy.render.addresses import addresses, is_public, namespace_of, peers
from tiffin.deploy.render.plan import PORT, Plan
from tiffin.deploy.render.pod import Manifest, labels

DNS: list[Manifest] = [
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
]
"""The cluster's DNS, and its cache on each node, if there is one."""
DNS_PORTS = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
HTTP = [{"protocol": "TCP", "port": PORT}]


def policy(plan: Plan, name: str) -> Manifest:
    """The spec of a service's policy. Anyone may call the entry service, which asks for keys."""
    callers = [_pods(plan, other) for other in plan.services if name in plan.calls(other)]
    if scrapers := scraping_namespace(plan):
        callers.append(_namespace(scrapers))
    egress: list[Manifest] = [{"to": DNS, "ports": DNS_PORTS}]
    if plan.calls(name):
        egress.append({"to": [_pods(plan, callee) for callee in plan.calls(name)], "ports": HTTP})
    return {
        "podSelector": {"matchLabels": labels(plan, name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": HTTP}] if name == ENTRY else [{"from": callers, "ports": HTTP}],
        "egress": egress + _outside(plan, name),
    }


def scraping_namespace(plan: Plan) -> str:
    """Where the Prometheus that scrapes the pods runs; empty without one.

    Raises SettingsError if its address does not say so and no flag does.
    """
    cluster = plan.cluster
    if cluster.scrapers or not cluster.scaled:
        return cluster.scrapers
    host = urlsplit(cluster.prometheus).hostname or ""
    if namespace := namespace_of(host, cluster.namespace):
        return namespace
    message = f"--scrapers is needed: {host} does not say in which namespace a Prometheus runs "
    raise SettingsError(f"{message}that scrapes the pods, and their policies let in no other")


def notes(plan: Plan) -> list[str]:
    """What the operator should know of the policies, a line each."""
    return [
        f"{address.setting}: pods may reach {address.host} on port {address.port} of every public "
        f"address and of no private one; `--cidr {address.host}=CIDR` says which ones it has"
        for address in addresses(plan.settings)
        if is_public(address, plan.cluster) and not address.is_provider
    ]


def _outside(plan: Plan, name: str) -> list[Manifest]:
    rules: list[Manifest] = []
    for address in addresses(plan.settings):
        port = {"protocol": "TCP", "port": address.port}
        rule = {"to": peers(address, plan.cluster), "ports": [port]}
        if (name == ENTRY or address.everyone) and rule not in rules:
            rules.append(rule)
    return rules


def _pods(plan: Plan, name: str) -> Manifest:
    return {"podSelector": {"matchLabels": labels(plan, name)}}


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
