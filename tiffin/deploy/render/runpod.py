"""RunPod: the body of one API call, which creates one load-balancing endpoint.

An endpoint of RunPod asks for the account's key, which our services do not send each other. So each
worker runs the whole Bento, and the entry service's scaling applies to it.

RunPod's REST API creates queues only, so this is the GraphQL call that its Python SDK makes.
"""

import json
from typing import Any

from tiffin.config.section import SettingsError
from tiffin.config.services import ENTRY
from tiffin.deploy.render.plan import PORT, WITHOUT_KEYS, Plan

CPU_SIZES = (1, 2, 4, 8)
"""Cores of RunPod's workers without a GPU; 4 GB of memory come with each."""

GPUS = "ADA_24,ADA_48_PRO,ADA_80_PRO,AMPERE_16,AMPERE_24,AMPERE_48,AMPERE_80"
"""RunPod's pools of cards with 16 GB or more."""

CUDA = "13.0"
"""The version that the pinned torch and vLLM need from the driver."""

QUERY = "mutation ($input: EndpointInput!) { saveEndpoint(input: $input) { id name } }"
README = """\
# {name} on RunPod

Made by `tiffin deploy render --target runpod`: change the profile, render again.

    curl -sf https://api.runpod.io/graphql -H "Authorization: Bearer $RUNPOD_API_KEY" \\
        -H "Content-Type: application/json" -d @endpoint.json

It answers with an id; requests go to https://ID.api.runpod.ai with the same key. To change the
endpoint later put `"id": "ID"` into the input.
"""


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    body = {"query": QUERY, "variables": {"input": _endpoint(plan)}}
    return {
        "endpoint.json": json.dumps(body, indent=2) + "\n",
        "README.md": README.format(name=plan.name),
    }


def _endpoint(plan: Plan) -> dict[str, Any]:
    gpus = plan.gpus_together()
    _, target = plan.target_of(ENTRY, "RunPod", "queue_depth", "request_rate_per_s")
    kind: dict[str, Any] = (
        {"gpuIds": GPUS, "gpuCount": gpus, "minCudaVersion": CUDA}
        if gpus
        else {"instanceIds": [_worker_size(plan)]}
    )
    return {
        "name": plan.name,
        "type": "LB",
        **kind,
        "workersMin": plan.entry.min,
        "workersMax": plan.entry.max,
        "scalerType": "REQUEST_COUNT",
        "scalerValue": max(1, round(target)),
        "idleTimeout": max(1, plan.entry.scale_down_window_s),
        "template": {
            "name": plan.name,
            "imageName": plan.image,
            "containerDiskInGb": 20,
            "ports": f"{PORT}/http",
            "env": [{"key": key, "value": value} for key, value in _environment(plan).items()],
        },
    }


def _environment(plan: Plan) -> dict[str, str]:
    return {
        "PORT": str(PORT),
        "PORT_HEALTH": str(PORT),  # RunPod polls /ping on this port
        **plan.variables,
        "BENTOML_HOST": "0.0.0.0",  # noqa: S104  inside of the worker
        **WITHOUT_KEYS,  # the endpoint asks for the account's key
        **{key: f"{{{{ RUNPOD_SECRET_{key} }}}}" for key in plan.all_secrets},
    }


def _worker_size(plan: Plan) -> str:
    """The smallest worker that has enough cores for all services."""
    cores = plan.cores_together()
    for size in CPU_SIZES:
        if size >= cores:
            return f"cpu3g-{size}-{4 * size}"
    message = f"the services ask for {cores:g} cores together; a worker of RunPod has at most "
    raise SettingsError(f"{message}{CPU_SIZES[-1]} without a GPU")
