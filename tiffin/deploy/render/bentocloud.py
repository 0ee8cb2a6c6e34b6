"""BentoCloud: a file for `bentoml deploy -f`. BentoCloud scales a service on requests in flight."""

from typing import Any

from tiffin.deploy.render.plan import PROVIDERS_SECRET, WITHOUT_KEYS, Plan, to_yaml

COMMENT = """\
Made by `tiffin deploy render --target bentocloud`: change the profile, render again.
Deploy with `bentoml deploy -f bentocloud.yaml`; the secret is made once, by
`bentoml secret create tiffin-internal TIFFIN_INTERNAL__TOKEN=$(openssl rand -hex 32)`."""


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    document = {
        "name": plan.name,
        "bento": plan.bento,
        "access_authorization": True,
        "secrets": ["tiffin-internal", *([PROVIDERS_SECRET] if plan.all_secrets else [])],
        # With `access_authorization`, BentoCloud checks its own token before a request reaches us.
        "envs": [
            {"name": variable, "value": value}
            for variable, value in {**plan.variables, **WITHOUT_KEYS}.items()
        ],
        "services": {name: _service(plan, name) for name in plan.services},
    }
    return {"bentocloud.yaml": to_yaml(document, comment=COMMENT)}


def _service(plan: Plan, name: str) -> dict[str, Any]:
    scaling = plan.services[name]
    resources: dict[str, Any] = {"cpu": scaling.cpu, "memory": scaling.memory}
    if gpus := plan.whole_gpus(name):
        resources["gpu"] = gpus
    overrides: dict[str, Any] = {"resources": resources}
    if scaling.max > scaling.min:
        _, target = plan.target_of(name, "BentoCloud", "queue_depth")
        overrides["traffic"] = {"concurrency": max(1, round(target))}
    return {
        "scaling": {
            "min_replicas": scaling.min,
            "max_replicas": scaling.max,
            "policy": {
                "scale_up_stabilization_window": scaling.scale_up_window_s,
                "scale_down_stabilization_window": scaling.scale_down_window_s,
            },
        },
        "deployment_strategy": "RollingUpdate",
        "config_overrides": overrides,
    }
