"""The addresses outside of a deployment that its settings name, for NetworkPolicies.

A NetworkPolicy knows no host names, so each host becomes what stands behind it: a Service of the
cluster is a namespace, an IP address is itself, and any other name may have every public address,
unless `--cidr` says which ones it has.
"""

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings
from tiffin.deploy.render.cluster import Cluster

PROVIDERS = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
"""Where a provider is unless its `base_url` says otherwise."""

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "redis": 6379, "rediss": 6379}
S3 = "https://s3.{}.amazonaws.com"
"""Where object storage is without an endpoint."""
TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"

NOT_PUBLIC = {
    "0.0.0.0/0": [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ],
    "::/0": ["fc00::/7", "fe80::/10"],
}
"""All addresses, without those of clusters, private networks and the cloud's metadata service."""

TOP_LEVEL = re.compile(r"[a-z]{2}|com|org|net|dev|app|cloud|info")
"""After one of these, a name of two parts is no `SERVICE.NAMESPACE`."""


@dataclass(frozen=True)
class Address:
    """A host and a port, the setting that names it, and who calls it: the entry, or every pod."""

    host: str
    port: int
    setting: str
    everyone: bool = False

    @property
    def is_provider(self) -> bool:
        """Whether it is a provider's own, which has public addresses only."""
        return f"https://{self.host}" in PROVIDERS.values()


def addresses(settings: Settings) -> list[Address]:
    """What the settings name. Raises SettingsError for an address of this machine."""
    return [_address(*named) for named in _named(settings)]


def peers(address: Address, cluster: Cluster) -> list[dict[str, Any]]:
    """Whom a NetworkPolicy must let through for an address."""
    blocks = cluster.addresses.get(address.host)
    if blocks is None and _is_ip(address.host):
        blocks = (f"{address.host}/{128 if ':' in address.host else 32}",)
    if blocks is not None:
        return [{"ipBlock": {"cidr": block}} for block in blocks]
    if namespace := namespace_of(address.host, cluster.namespace):
        return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]
    return [{"ipBlock": {"cidr": cidr, "except": but}} for cidr, but in NOT_PUBLIC.items()]


def namespace_of(host: str, own: str) -> str | None:
    """The namespace of a Service by its host name, or None for a host outside of the cluster."""
    name, *rest = host.split(".")
    if _is_ip(host) or not name:
        return None
    if not rest:
        return own
    if rest[1:2] == ["svc"]:
        return rest[0]
    return None if len(rest) > 1 or TOP_LEVEL.fullmatch(rest[0]) else rest[0]


def is_public(address: Address, cluster: Cluster) -> bool:
    """Whether every public address is let through, because nothing says which ones it has."""
    return "except" in peers(address, cluster)[0].get("ipBlock", {})


def check_cidr(text: str) -> tuple[str, str]:
    """HOST and CIDR out of `HOST=CIDR`. Raises SettingsError for anything else."""
    host, _, block = text.partition("=")
    try:
        network = ipaddress.ip_network(block)
    except ValueError:
        message = "is not HOST=CIDR, such as db.example.com=10.2.0.0/16"
        raise SettingsError(f"--cidr: {text!r} {message}") from None
    return host, str(network)


def _named(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """Each URL with the setting that names it, and whether every pod calls it."""
    for name, provider in settings.providers.items():
        url = provider.base_url or PROVIDERS[provider.provider]
        yield url, f"providers.{name}.base_url", False
    if "://" in (ledger := settings.routing.ledger or ""):
        yield ledger, "routing.ledger", False
    if settings.corpora_database:
        yield settings.corpora_database, "corpora", False
    if settings.chunks:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        yield os.environ.get("AWS_ENDPOINT") or S3.format(region), "AWS_ENDPOINT", False
    if settings.cache.redis:
        yield settings.cache.redis, "cache.redis", False
    if collector := os.environ.get(TRACES):
        yield collector, TRACES, True


def _address(url: str, setting: str, everyone: bool) -> Address:  # noqa: FBT001
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or host == "localhost" or (_is_ip(host) and _is_own(host)):
        message = f"{url} is an address of this machine, and a container is another one"
        raise SettingsError(f"{setting}: {message}: name the host")
    return Address(host, parts.port or PORTS[parts.scheme], setting, everyone)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_own(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return address.is_loopback or address.is_unspecified
