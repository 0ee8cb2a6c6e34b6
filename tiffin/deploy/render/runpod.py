"""RunPod: the bodies of two calls of its REST API, which make one load-balancing endpoint.

An endpoint of RunPod asks for its account's key, which our services do not send each other: here
the whole Bento runs in each worker, composed, and the entry service's scaling is that of all.
"""

import json
import math

from tiffin.deploy.render.plan import PORT, WITHOUT_KEYS, Plan

SECONDS_AT_LEAST = 1
README = """\
# {name} on RunPod

Made by `tiffin deploy render --target runpod`: change the profile, render again.

    key="Authorization: Bearer $RUNPOD_API_KEY"
    curl -sf -H "$key" -H "Content-Type: application/json" -d @template.json \\
        https://rest.runpod.io/v1/templates
    # put the id that it answers into endpoint.json as templateId
    curl -sf -H "$key" -H "Content-Type: application/json" -d @endpoint.json \\
        https://rest.runpod.io/v1/endpoints

The endpoint answers at https://ENDPOINT_ID.api.runpod.ai with the same key.
"""


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    gpus = math.ceil(sum(plan.gpus(name) for name in plan.services))
    signal, target = plan.target_of("RAG", "RunPod", "queue_depth", "request_rate_per_s")
    template = {
        "name": plan.name,
        "imageName": plan.image,
        "isServerless": True,
        "containerDiskInGb": 20,
        "ports": [f"{PORT}/http"],
        "env": {
            "PORT": str(PORT),
            "PORT_HEALTH": str(PORT),
            "TIFFIN_PROFILE": plan.settings.profile,
            "BENTOML_HOST": "0.0.0.0",  # noqa: S104  inside of the worker
            **WITHOUT_KEYS,  # the endpoint asks for the account's key
        },
    }
    kind = (
        {"computeType": "GPU", "gpuCount": gpus}
        if gpus
        else {"computeType": "CPU", "vcpuCount": _cores(plan)}
    )
    endpoint = {
        "name": plan.name,
        "templateId": "PUT-THE-TEMPLATE-ID-HERE",
        **kind,
        "workersMin": plan.entry.min,
        "workersMax": plan.entry.max,
        "scalerType": "REQUEST_COUNT",
        "scalerValue": max(1, round(target)),
        "idleTimeout": max(SECONDS_AT_LEAST, plan.entry.scale_down_window_s),
    }
    del signal  # either counts requests
    return {
        "template.json": json.dumps(template, indent=2) + "\n",
        "endpoint.json": json.dumps(endpoint, indent=2) + "\n",
        "README.md": README.format(name=plan.name),
    }


def _cores(plan: Plan) -> int:
    """The even number of cores that all services ask for together; RunPod sells pairs."""
    amounts = [s.cpu for s in plan.services.values()]
    cores = sum(int(a[:-1]) / 1000 if a.endswith("m") else float(a) for a in amounts)
    return 2 * math.ceil(cores / 2)
