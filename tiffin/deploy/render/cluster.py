"""What the flags of `tiffin deploy render --target kubernetes` say about a cluster, checked.

A name that Kubernetes would refuse, or that the autoscalers could not find, ends the rendering with
one line: `kubectl apply` would say so object by object, and Prometheus not at all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tiffin.config.section import SettingsError

NO_PROMETHEUS = "none"
"""In place of Prometheus' address: a cluster that has none."""

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""A label of DNS (RFC 1035), as Services are named."""
NAMESPACE_CHARS = 63
HOST_CHARS = 253
NAME_CHARS = 53
"""Of a release, also for Helm: `-embedding` follows, and a Service's name may have 63."""

HOST = re.compile(r"(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:[a-zA-Z0-9][-a-zA-Z0-9.]*(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][-.\w]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""A registry with its port, a path, a tag and a digest, as the distribution specification says."""


@dataclass(frozen=True)
class Front:
    """Where clients come in with TLS: by an Ingress, or by a Gateway, of that class."""

    host: str
    secret: str
    ingress_class: str = ""
    gateway_class: str = ""


@dataclass(frozen=True)
class Cluster:
    """Where a deployment goes, and what of the cluster it uses."""

    namespace: str = "tiffin"
    prometheus: str = NO_PROMETHEUS
    """Its address, which the autoscalers ask; or `none`."""
    scrapers: str = ""
    """The namespace of the Prometheus that scrapes; if empty, the one in its address."""
    front: Front | None = None
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The CIDRs behind a host that the settings name, if it has no others."""
    corpora: bool = True
    """Whether questions may be asked of stored documents."""

    @property
    def scaled(self) -> bool:
        """Whether autoscalers can be told the load."""
        return self.prometheus != NO_PROMETHEUS


def check_name(name: str) -> str:
    """The name of a release. Raises SettingsError if Kubernetes would refuse what follows of it."""
    return _label("--name", name, NAME_CHARS)


def check_namespace(name: str, flag: str = "--namespace") -> str:
    """The name of a namespace. Raises SettingsError for one that cannot exist."""
    return _label(flag, name, NAMESPACE_CHARS)


def check_image(image: str) -> str:
    """A reference of an image. Raises SettingsError for one that no node could pull."""
    if not IMAGE.fullmatch(image):
        message = "is no image: write REGISTRY/PATH:TAG, the path in lower case"
        raise SettingsError(f"--image: {image!r} {message}")
    return image


def check_host(host: str) -> str:
    """A host name that clients use. Raises SettingsError for anything else."""
    if len(host) > HOST_CHARS or not HOST.fullmatch(host):
        raise SettingsError(f"--host: {host!r} is no host name, such as rag.example.com")
    return host


def check_prometheus(address: str | None) -> str:
    """Prometheus' address, or `none`. Raises SettingsError if it is missing or no URL."""
    if not address:
        message = (
            "--prometheus is needed, such as http://prometheus-operated.monitoring:9090: the "
            "autoscalers ask it (`--prometheus none` renders none, and fixes the replicas)"
        )
        raise SettingsError(message)
    if address != NO_PROMETHEUS:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            message = "is no address: write http://SERVICE.NAMESPACE:9090, or `none`"
            raise SettingsError(f"--prometheus: {address!r} {message}")
    return address.rstrip("/")


def _label(flag: str, text: str, most: int) -> str:
    if len(text) > most:
        raise SettingsError(f"{flag}: {text!r} has {len(text)} characters; at most {most} fit")
    if not LABEL.fullmatch(text):
        message = "lower-case letters, digits and -, beginning with a letter"
        raise SettingsError(f"{flag}: {text!r} is no name for Kubernetes: {message}")
    return text
