"""The options of `tiffin deploy render --target kubernetes`, and the cluster that they describe."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from tiffin.config.section import SettingsError
from tiffin.deploy.render.addresses import check_cidr
from tiffin.deploy.render.cluster import (
    Cluster,
    Front,
    check_host,
    check_namespace,
    check_prometheus,
)

KUBERNETES = "kubernetes"
Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS = (
    click.option("--namespace", help="Where it goes.  [default: tiffin]"),
    click.option(
        "--prometheus",
        metavar="URL",
        help="What the autoscalers ask, such as http://prometheus-operated.monitoring:9090; `none` "
        "fixes the replicas.",
    ),
    click.option(
        "--scrapers",
        metavar="NAMESPACE",
        help="Where the Prometheus that scrapes the pods runs, if its address does not say.",
    ),
    click.option("--host", help="The name that clients use; needs one of the next two."),
    click.option("--ingress-class", metavar="NAME", help="An Ingress of this class, with TLS."),
    click.option("--gateway-class", metavar="NAME", help="A Gateway of this class, with TLS."),
    click.option("--tls-secret", metavar="NAME", help="The certificate.  [default: NAME-tls]"),
    click.option(
        "--cidr",
        multiple=True,
        metavar="HOST=CIDR",
        help="The addresses of a host of the settings. Else pods may reach its port on all public "
        "ones.",
    ),
    click.option(
        "--without-corpora",
        is_flag=True,
        default=None,
        help="No stored documents: several replicas of RAG could not share them.",
    ),
    click.option(
        "--helm",
        type=click.Path(path_type=Path, file_okay=False),
        help="Write a Helm chart of the same manifests there too.",
    ),
)


def cluster_options(command: Function) -> Function:
    """Add the options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def check_target(target: str, flags: Mapping[str, Any]) -> None:
    """Raise SettingsError if an option of Kubernetes is given for another platform."""
    if target != KUBERNETES and (given := [name for name, value in flags.items() if value]):
        option = f"--{given[0].replace('_', '-')}"
        raise SettingsError(f"{option} is for --target {KUBERNETES} only, not {target}")


def cluster_of(name: str, flags: Mapping[str, Any]) -> Cluster:
    """The cluster. Raises SettingsError for the first option that makes no sense."""
    addresses: dict[str, tuple[str, ...]] = {}
    for text in flags["cidr"]:
        host, block = check_cidr(text)
        addresses[host] = (*addresses.get(host, ()), block)
    return Cluster(
        namespace=check_namespace(flags["namespace"] or Cluster.namespace),
        prometheus=check_prometheus(flags["prometheus"]),
        scrapers=check_namespace(flags["scrapers"], "--scrapers") if flags["scrapers"] else "",
        front=_front(name, flags),
        addresses=addresses,
        corpora=not flags["without_corpora"],
    )


def _front(name: str, flags: Mapping[str, Any]) -> Front | None:
    classes = [flags["ingress_class"], flags["gateway_class"]]
    if not flags["host"]:
        if any([*classes, flags["tls_secret"]]):
            raise SettingsError("--host is needed: the name that clients use")
        return None
    if classes.count(None) != 1:
        message = "--host needs --ingress-class or --gateway-class, such as `--ingress-class nginx`"
        raise SettingsError(f"{message}: one of them")
    secret = flags["tls_secret"] or f"{name}-tls"
    return Front(check_host(flags["host"]), secret, classes[0] or "", classes[1] or "")
