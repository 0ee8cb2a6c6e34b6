"""The pod of one service, for the Deployments of `tiffin.deploy.render.kubernetes`."""

import math
from typing import Any

from tiffin.config.services import ENTRY
from tiffin.deploy.render.carried import CORPORA, KEYS_FILE, TOKEN
from tiffin.deploy.render.plan import PORT, SOURCE_IN_IMAGE, START, USER_IN_IMAGE, Plan, slug
from tiffin.deploy.render.shared import FOLDER, on_a_volume

KEYS_FOLDER = "/etc/tiffin"
NOWHERE = "/nonexistent"
"""A folder that nobody can make, because the root is read-only."""
PRE_STOP_S = 10
"""Requests keep coming until every node knows that a pod is going away."""
SPARE_S = 50
"""Between the end of the drain and the kill."""
Manifest = dict[str, Any]

KEYS_MOUNT: Manifest = {"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True}

GPU_NODE: Manifest = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
"""Nodes with GPUs are often tainted, so that only pods that need a GPU run there."""

SHARED_MEMORY: Manifest = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
"""Used by the processes of a model that is split over GPUs; the default is 64 MB."""

SCRATCH, SCRATCH_GPU = "2Gi", "16Gi"
"""Most that a pod may write to /tmp: uploads on their way, or the kernels that vLLM compiles."""


def labels(plan: Plan, name: str) -> dict[str, str]:
    """The labels of everything of one service: two releases in a namespace share none."""
    return {
        "app.kubernetes.io/name": "tiffin",
        "app.kubernetes.io/instance": plan.name,
        "app.kubernetes.io/component": slug(name),
    }


def secret(plan: Plan, of: str) -> str:
    """The name of a Secret of this release: `internal`, `keys`, `providers`, `stores`."""
    return f"{plan.name}-{of}"


def claim(plan: Plan) -> str:
    """The name of the volume claim of a single entry service."""
    return f"{plan.name}-state"


def pod(plan: Plan, name: str) -> Manifest:
    """One replica, which has no privileges and a read-only root."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace_s(plan),
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
                "labelSelector": {"matchLabels": labels(plan, name)},
            }
        ],
        **({"tolerations": [GPU_NODE]} if plan.whole_gpus(name) else {}),
        "containers": [_container(plan, name)],
        "volumes": [
            {
                "name": "scratch",
                "emptyDir": {"sizeLimit": SCRATCH_GPU if plan.whole_gpus(name) else SCRATCH},
            },
            *_entry_volumes(plan, name),
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
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_S)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  in the container
            *([KEYS_MOUNT] if asks_for_keys(plan, name) else []),
            *([{"name": "state", "mountPath": FOLDER}] if _has_state(plan, name) else []),
            *([{"name": "shm", "mountPath": "/dev/shm"}] if gpus > 1 else []),  # noqa: S108
        ],
    }


def asks_for_keys(plan: Plan, name: str) -> bool:
    """Whether a service asks its callers for API keys."""
    return name == ENTRY and not plan.settings.access.without_keys


def _has_state(plan: Plan, name: str) -> bool:
    return name == ENTRY and bool(on_a_volume(plan))


def _entry_volumes(plan: Plan, name: str) -> list[Manifest]:
    """Clients' keys, whose changed Secret is read without a restart, and a single entry's state."""
    volumes: list[Manifest] = []
    if asks_for_keys(plan, name):
        item = {"key": "keys.json", "path": "keys.json"}
        source = {"secretName": secret(plan, "keys"), "items": [item]}
        volumes.append({"name": "keys", "secret": source})
    if _has_state(plan, name):
        source = {"claimName": claim(plan)}
        volumes.append({"name": "state", "persistentVolumeClaim": source})
    return volumes


def _probe(path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3}


def _grace_s(plan: Plan) -> int:
    """Time to stop: the settings' drain, with what comes before and after it."""
    supervision = plan.settings.resilience.supervision
    drain_ms = supervision.drain_ms + supervision.drain_notice_ms
    return PRE_STOP_S + math.ceil(drain_ms / 1000) + SPARE_S


def _environment(plan: Plan, name: str) -> list[Manifest]:
    values = plan.environment(name, plan.host)
    secrets = [_from_secret(TOKEN, secret(plan, "internal"), "token")]
    secrets += [_from_secret(variable, secret(plan, "settings")) for variable in plan.secrets]
    if name == ENTRY:
        values |= on_a_volume(plan)
        if asks_for_keys(plan, name):
            values[KEYS_FILE] = f"{KEYS_FOLDER}/keys.json"
        if not plan.cluster.corpora:
            values[CORPORA] = NOWHERE
        secrets += [_from_secret(key, secret(plan, "providers")) for key in plan.provider_keys]
        # A store may do without a password, and without the Secret then.
        secrets += [
            _from_secret(password, secret(plan, "stores"), optional=True)
            for password in plan.passwords
        ]
    return [{"name": variable, "value": value} for variable, value in values.items()] + secrets


def _from_secret(
    variable: str, name: str, key: str | None = None, *, optional: bool = False
) -> Manifest:
    reference = {"name": name, "key": key or variable} | ({"optional": True} if optional else {})
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}
