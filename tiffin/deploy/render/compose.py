"""Docker Compose: every service in containers of its own on one machine.

Compose has no autoscaling: each service gets its `min` replicas, which
`docker compose up --scale embedding=3` changes. Compose's DNS answers with all replicas of a
service, and our transport opens one connection for each request, so the requests are spread.
"""

from typing import Any

from tiffin.config.services import ENTRY
from tiffin.deploy.render.carried import TOKEN
from tiffin.deploy.render.plan import (
    PORT,
    SOURCE_IN_IMAGE,
    START,
    USER_IN_IMAGE,
    WITHOUT_KEYS,
    Plan,
    cores,
    slug,
    to_yaml,
)

COMMENT = """\
Made by `tiffin deploy render --target compose`: change the profile, render again.
TIFFIN_INTERNAL__TOKEN must be set, here or in a file .env: `openssl rand -hex 32`."""

PROBE = (
    "import urllib.request as r; "
    f"r.urlopen('http://127.0.0.1:{PORT}/readyz', timeout=3)"  # 200, or an exception
)


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    services, used = {}, 0
    for name in plan.services:
        # GPUs are given by number: with a mere count, each service would get the first card again.
        numbers = range(used, used + plan.whole_gpus(name))
        services[slug(name)] = _service(plan, name, [str(number) for number in numbers])
        used += len(numbers)
    document = {"name": plan.name, "services": services, "networks": {"internal": {}}}
    return {"compose.yaml": to_yaml(document, comment=COMMENT)}


def _service(plan: Plan, name: str, gpus: list[str]) -> dict[str, Any]:
    scaling = plan.services[name]
    environment = {
        # Compose would read a dollar sign as a variable.
        **{k: v.replace("$", "$$") for k, v in plan.environment(name, slug).items()},
        # The published port can be reached from this machine only.
        **(WITHOUT_KEYS if name == ENTRY else {}),
        **(_secrets(plan) if name == ENTRY else {}),
        **{variable: f"${{{variable}:?set it}}" for variable in plan.secrets},
        TOKEN: f"${{{TOKEN}:?set it to a secret of 16 bytes or more}}",
    }
    limits = {
        "cpus": f"{cores(scaling.cpu):g}",
        "memory": scaling.memory.replace("i", "B").replace("GB", "G").replace("MB", "M"),
    }
    resources: dict[str, Any] = {"limits": limits}
    if gpus:
        device = {"driver": "nvidia", "device_ids": gpus, "capabilities": ["gpu"]}
        resources["reservations"] = {"devices": [device]}
    return {
        "image": plan.image,
        "entrypoint": list(START),
        "working_dir": SOURCE_IN_IMAGE,
        "environment": environment,
        "user": f"{USER_IN_IMAGE}:{USER_IN_IMAGE}",
        "read_only": True,
        # Compiled GPU kernels are loaded from there.
        "tmpfs": [f"/tmp:mode=1777{',exec' if gpus else ''}"],  # noqa: S108
        # The processes of a model that is split over GPUs talk over shared memory; default: 64 MB.
        **({"shm_size": "2gb"} if len(gpus) > 1 else {}),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "networks": ["internal"],
        **({"ports": [f"127.0.0.1:{PORT}:{PORT}"]} if name == ENTRY else {}),
        "healthcheck": {
            "test": ["CMD", "python", "-c", PROBE],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{max(60, int(5 * scaling.start_s))}s",
        },
        "deploy": {"replicas": scaling.min, "resources": resources},
        "restart": "unless-stopped",
        "stop_grace_period": "60s",
    }


def _secrets(plan: Plan) -> dict[str, str]:
    """Of the entry service, out of this environment; a store may do without a password."""
    return {
        **{key: f"${{{key}:?set it}}" for key in plan.provider_keys},
        **{password: f"${{{password}:-}}" for password in plan.passwords},
    }
