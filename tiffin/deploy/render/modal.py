"""Modal: a Python file for `modal deploy`, with one web server for each service.

Modal starts another container once a service's containers have `target_inputs` requests each.
"""

import json

from tiffin.config.scaling import Scaling
from tiffin.deploy.render.plan import (
    PORT,
    PROVIDERS_SECRET,
    SOURCE_IN_IMAGE,
    START,
    Plan,
    cores,
    slug,
)

HEAD = '''\
"""Made by `tiffin deploy render --target modal`: change the profile, render again.

    modal secret create tiffin-internal TIFFIN_INTERNAL__TOKEN=$(openssl rand -hex 32)
    TIFFIN_ACCESS__KEYS_FILE=keys.json tiffin keys create web
    modal secret create tiffin-keys KEYS_JSON="$(cat keys.json)"
    MODAL_WORKSPACE=yours modal deploy {file}
"""

import os
import subprocess
from pathlib import Path

import modal

WORKSPACE = os.environ["MODAL_WORKSPACE"]
app = modal.App("{name}")
image = (
    modal.Image.from_registry("{image}")
    .entrypoint([])
    .env({{"MODAL_WORKSPACE": WORKSPACE, **{variables}}})
)
secrets = [
    modal.Secret.from_name("tiffin-internal", required_keys=["TIFFIN_INTERNAL__TOKEN"]),
    modal.Secret.from_name("tiffin-keys", required_keys=["KEYS_JSON"]),{providers}
]


def start(service: str, *calls: str) -> None:
    """Start one service alone; those that it calls are web servers of this app."""
    addresses = [
        f"{{call}}=https://{{WORKSPACE}}--{name}-{{label}}.modal.run"
        for call, label in (pair.split(":") for pair in calls)
    ]
    command = [*{command}, service, "--port", "{port}"]
    command += [word for address in addresses for word in ("--depends", address)]
    keys = Path("/tmp/keys.json")
    keys.write_text(os.environ["KEYS_JSON"])
    environment = {{**os.environ, "TIFFIN_ACCESS__KEYS_FILE": str(keys)}}
    subprocess.Popen(command, cwd="{source}", env=environment)
'''

SERVICE = '''

@app.function(
    image=image,
    secrets=secrets,
    cpu={cpu},
    memory={memory},{gpu}
    min_containers={min},
    max_containers={max},
    scaledown_window={window},
    timeout=900,
)
@modal.concurrent(max_inputs={most}, target_inputs={target})
@modal.web_server(port={port}, startup_timeout={startup}, label="{name}-{slug}")
def {function}() -> None:
    """{service}, alone."""
    start({arguments})
'''

MODAL_LEAST_WINDOW_S, MODAL_MOST_WINDOW_S = 2, 3600


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    file = f"{plan.name}_modal.py"
    head = HEAD.format(
        file=file,
        name=plan.name,
        image=plan.image,
        variables=json.dumps(plan.variables),
        command=json.dumps(list(START)),
        port=PORT,
        source=SOURCE_IN_IMAGE,
        providers=_providers_secret(plan.all_secrets),
    )
    return {file: head + "".join(_service(plan, name) for name in plan.services)}


def _service(plan: Plan, name: str) -> str:
    scaling = plan.services[name]
    _, target = plan.target_of(name, "Modal", "queue_depth")
    calls = [f"{callee}:{slug(callee)}" for callee in plan.calls(name)]
    gpus = plan.whole_gpus(name)
    return SERVICE.format(
        cpu=cores(scaling.cpu),
        memory=_mebibytes(scaling),
        gpu=f'\n    gpu="any:{gpus}",' if gpus else "",
        min=scaling.min,
        max=scaling.max,
        window=min(max(scaling.scale_down_window_s, MODAL_LEAST_WINDOW_S), MODAL_MOST_WINDOW_S),
        target=round(target),
        most=2 * round(target),
        port=PORT,
        startup=max(120, int(10 * scaling.start_s)),
        name=plan.name,
        slug=slug(name),
        function=slug(name).replace("-", "_"),
        service=name,
        arguments=", ".join(f'"{word}"' for word in [name, *calls]),
    )


def _providers_secret(keys: list[str]) -> str:
    if not keys:
        return ""
    return f'\n    modal.Secret.from_name("{PROVIDERS_SECRET}", required_keys={json.dumps(keys)}),'


def _mebibytes(scaling: Scaling) -> int:
    amount = int(scaling.memory[:-2])
    return amount * 1024 if scaling.memory.endswith("Gi") else amount
