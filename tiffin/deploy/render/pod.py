"""The pod of one service, for the Deployments of `tiffin.deploy.render.kubernetes`."""

from typing import Any

from tiffin.config.services import ENTRY
from tiffin.deploy.render.plan import (
    KEYS_FILE,
    PORT,
    PROVIDERS_SECRET,
    SOURCE_IN_IMAGE,
    START,
    TOKEN,
    USER_IN_IMAGE,
    Plan,
    slug,
)

SECRET = "tiffin-internal"  # noqa: S105  the name of a Secret
KEYS_SECRET = "tiffin-keys"  # noqa: S105  the name of a Secret
KEYS_FOLDER = "/etc/tiffin"
Manifest = dict[str, Any]

KEYS_MOUNT: Manifest = {"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True}

GPU_NODE: Manifest = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
"""Nodes with GPUs are often tainted, so that only pods that need a GPU run there."""

SHARED_MEMORY: Manifest = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
"""Used by the processes of a model that is split over GPUs; the default is 64 MB."""


def pod(plan: Plan, name: str, labels: dict[str, str]) -> Manifest:
    """One replica, which has no privileges and a read-only root."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 90,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_IN_IMAGE,
            "runAsGroup": USER_IN_IMAGE,
            "fsGroup": USER_IN_IMAGE,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        **({"tolerations": [GPU_NODE]} if plan.whole_gpus(name) else {}),
        "containers": [_container(plan, name)],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            *_keys_volume(name),
            *([SHARED_MEMORY] if plan.whole_gpus(name) > 1 else []),
        ],
    }


def _container(plan: Plan, name: str) -> Manifest:
    scaling = plan.services[name]
    gpus = plan.whole_gpus(name)
    limits = {"memory": scaling.memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {
        "name": slug(name),
        "image": plan.image,
        "command": list(START),
        "workingDir": SOURCE_IN_IMAGE,
        "env": _environment(plan, name),
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": scaling.cpu, "memory": scaling.memory}, "limits": limits},
        "startupProbe": {
            **_probe("/livez"),
            "periodSeconds": 5,
            "failureThreshold": max(60, int(scaling.start_s)),
        },
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 6},
        # Requests keep coming until every node knows that this pod is going away.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "10"]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  in the container
            *([KEYS_MOUNT] if name == ENTRY else []),
            *([{"name": "shm", "mountPath": "/dev/shm"}] if gpus > 1 else []),  # noqa: S108
        ],
    }


def _keys_volume(name: str) -> list[Manifest]:
    """The API keys, for the entry service only. A changed Secret is read without a restart."""
    if name != ENTRY:
        return []
    item = {"key": "keys.json", "path": "keys.json"}
    return [{"name": "keys", "secret": {"secretName": KEYS_SECRET, "items": [item]}}]


def _probe(path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3}


def _environment(plan: Plan, name: str) -> list[Manifest]:
    values = {
        **plan.environment(name, plan.host),
        **({KEYS_FILE: f"{KEYS_FOLDER}/keys.json"} if name == ENTRY else {}),
    }
    secrets = {TOKEN: (SECRET, "token")}
    if name == ENTRY:
        secrets |= {variable: (PROVIDERS_SECRET, variable) for variable in plan.provider_keys}
    plain = [{"name": variable, "value": value} for variable, value in values.items()]
    return plain + [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for variable, (secret, key) in secrets.items()
    ]
