"""The files for Modal, RunPod and Replicate, read by those platforms' own SDKs.

The SDKs live in an environment of their own (platforms.txt), and nothing is sent anywhere: what a
platform does with an account is not tested.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiffin.config.settings import load_settings
from tiffin.deploy.render import write
from tiffin.deploy.render.plan import Plan

pytestmark = pytest.mark.slow

IMAGE = "registry.example/tiffin:1"
UV = Path(sys.executable).with_name("uv")

MODAL = """
import json, runpy, sys, warnings
import modal
names = runpy.run_path(sys.argv[1])
warnings.simplefilter("ignore")  # the public list of functions goes away in 1.7
app = names["app"]
specs = {name: function._spec_ for name, function in app.registered_functions.items()}
print(json.dumps({
    "app": app.name,
    "servers": app.registered_web_endpoints,
    "secrets": [str(secret) for secret in specs["rag"].secrets],
    "cpu": {name: spec.cpu for name, spec in specs.items()},
    "memory": {name: spec.memory for name, spec in specs.items()},
    "gpus": {name: spec.gpus for name, spec in specs.items()},
}))
"""

RUNPOD = """
import json, sys
from runpod_flash.core.resources import load_balancer_sls_resource as kinds
from runpod_flash.core.resources.template import PodTemplate
given = json.load(open(sys.argv[1]))["variables"]["input"]
cpu = "instanceIds" in given
kind = kinds.CpuLoadBalancerSlsResource if cpu else kinds.LoadBalancerSlsResource
made = kind(**given)
made._validate_lb_configuration()
print(json.dumps({
    "unknown": sorted(given.keys() - kind.model_fields.keys())
    + sorted(given["template"].keys() - PodTemplate.model_fields.keys()),
    "read": made.model_dump(mode="json"),
}))
"""

REPLICATE = """
import inspect, json, sys
from cog._inspector import create_predictor
from replicate.deployment import Deployments
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].partition(":")
made = create_predictor(module.removesuffix(".py"), name)
print(json.dumps({
    "inputs": {name: field.type.primitive.name for name, field in made.inputs.items()},
    "output": made.output.type.name,
    "deployment": sorted(Deployments.CreateDeploymentParams.__annotations__),
}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the SDKs."""
    folder = tmp_path_factory.mktemp("platforms")
    python = folder / "bin/python"
    listed = Path(__file__).with_name("platforms.txt")
    subprocess.run([UV, "venv", "--quiet", folder, "--python", sys.executable], check=True)
    words = ["--quiet", "--python", str(python), "--requirements", str(listed)]
    subprocess.run([UV, "pip", "install", *words], check=True)
    return python


def ask(python: Path, program: str, *arguments: object) -> dict[str, Any]:
    """What a program of theirs says about our files; its warnings are errors."""
    strict = ["-W", "error", "-W", "ignore:Flash is moving:FutureWarning"]
    done = subprocess.run(
        [str(python), *strict, "-c", program, *map(str, arguments)],
        cwd=python.parent,  # they leave notes where they run
        env={"PATH": os.environ["PATH"], "HOME": str(python.parent), "MODAL_WORKSPACE": "acme"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rendered(target: str, profile: str, folder: Path) -> Path:
    write(target, Plan(load_settings(profile=profile), IMAGE), folder)
    return folder


@pytest.mark.parametrize(("profile", "gpu"), [("laptop", None), ("gpu", "any:1")])
def test_modal_registers_one_web_server_a_service(
    python: Path, tmp_path: Path, profile: str, gpu: str | None
) -> None:
    app = ask(python, MODAL, rendered("modal", profile, tmp_path) / "tiffin_modal.py")
    assert app["app"] == "tiffin"
    inner = ["embedding", "reranker", "router", "safety", "small_llm"]
    assert app["servers"] == [*inner, *(["large_llm"] if profile == "gpu" else []), "rag"]
    assert app["gpus"]["small_llm"] == gpu
    assert app["gpus"]["embedding"] is app["gpus"]["rag"] is None
    assert all(mebibytes >= 256 for mebibytes in app["memory"].values())
    assert len(app["secrets"]) == 2


@pytest.mark.parametrize("profile", ["laptop", "gpu", "multi-gpu"])
def test_runpod_reads_a_load_balancing_endpoint(python: Path, tmp_path: Path, profile: str) -> None:
    path = rendered("runpod", profile, tmp_path) / "endpoint.json"
    given = json.loads(path.read_text())["variables"]["input"]
    answer = ask(python, RUNPOD, path)
    assert answer["unknown"] == []
    read = answer["read"]
    assert read["type"] == "LB"
    template, asked = read.pop("template"), given.pop("template")
    assert {key: read[key] for key in given} == given
    del asked["name"]  # the SDK adds a digest to it
    assert {key: template[key] for key in asked} == asked
    assert read["gpuCount"] == {"laptop": 0, "gpu": 1, "multi-gpu": 2}[profile]


def test_cog_finds_the_runner_and_replicate_the_deployment(python: Path, tmp_path: Path) -> None:
    folder = rendered("replicate", "laptop", tmp_path)
    cog = yaml.safe_load((folder / "cog.yaml").read_text())
    assert cog.keys() <= {"build", "image", "run", "environment", "concurrency"}
    assert cog["build"].keys() <= {"gpu", "python_version", "python_requirements"}
    answer = ask(python, REPLICATE, folder, cog["run"])
    assert answer["inputs"] == {"query": "STRING", "documents": "STRING"}
    assert answer["output"] == "STRING"
    deployment = json.loads((folder / "deployment.json").read_text())
    # The model and its version are there once `cog push` has run.
    assert sorted([*deployment, "model", "version"]) == answer["deployment"]
