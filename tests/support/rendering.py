"""What tests of rendered files start from: a plan for Kubernetes whose replicas share stores."""

from pathlib import Path
from typing import Any

import yaml

from tiffin.config.settings import load_settings
from tiffin.deploy.render.cluster import Cluster
from tiffin.deploy.render.plan import Plan

IMAGE = "registry.example/tiffin:1"
PROMETHEUS = "http://prometheus-operated.monitoring:9090"
LEDGER = "postgresql://tiffin@postgres.data/tiffin"
REDIS = "redis://redis.data:6379/0"
Manifest = dict[str, Any]


def plan_of(profile: str = "laptop", *, name: str = "tiffin", **cluster: Any) -> Plan:
    """A plan for a profile; the ledger and the cache are shared, corpora are off."""
    settings = load_settings(profile=profile, routing={"ledger": LEDGER}, cache={"redis": REDIS})
    chosen: dict[str, Any] = {"prometheus": PROMETHEUS, "corpora": False} | cluster
    return Plan(settings, IMAGE, name=name, cluster=Cluster(**chosen))


def manifests(folder: Path, *kinds: str) -> list[Manifest]:
    """Every manifest below a folder, or those of some kinds."""
    found = [
        document
        for path in sorted(folder.rglob("*.yaml"))
        if path.name != "prometheus-adapter-values.yaml"
        for document in yaml.load_all(path.read_text(), yaml.CSafeLoader)
    ]
    return [document for document in found if not kinds or document["kind"] in kinds]


def environment(deployment: Manifest) -> dict[str, Any]:
    """The variables of a Deployment's container: a text, or where it comes from."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
