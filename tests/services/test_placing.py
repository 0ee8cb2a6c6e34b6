"""What the services make of the plan, on GPUs that only `nvidia-smi` believes in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gpus import fake_gpus
from tests.support.stack import ROOT, free_port

pytestmark = pytest.mark.slow  # each starts Python with BentoML

VLLM_TIER = {"TIFFIN_TIERS__SMALL__MODEL": "smollm2-135m-instruct-bf16"}

ASK = """
import json, os
from services import placing
found = {}
for service in ("Embedding", "Reranker", "SmallLLM", "Router"):
    placed = placing.take_place(service)
    found[service] = placed and [
        os.environ["CUDA_VISIBLE_DEVICES"],
        os.environ.pop("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", None),
        placed.degree,
    ]
with placing.measured(placing.plan() and placing.plan().of("SmallLLM")) as budget:
    found["kv_cache_bytes"] = budget and budget.kv_cache_bytes
print(json.dumps(found))
"""


def run(environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        env={"TIFFIN_PROFILE": "laptop", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def places(environment: dict[str, str]) -> dict[str, list[object] | None]:
    result = run(environment, "-c", ASK)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[object] | None] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_models_that_share_one_card_each_get_their_share(tmp_path: Path) -> None:
    found = places({**fake_gpus(tmp_path, 23034), **VLLM_TIER})
    for service in ("Embedding", "Reranker", "SmallLLM"):
        placed = found[service]
        assert placed is not None
        assert placed[0] == "0"
        assert 1 <= int(str(placed[1])) < 50
    assert found["Router"] is None
    assert found["kv_cache_bytes"]


def test_a_tier_on_two_cards_sees_both(tmp_path: Path) -> None:
    """SmolLM2 has 9 heads, which no two cards divide: the plan says so in one line."""
    two = {**fake_gpus(tmp_path, 23034, 23034), **VLLM_TIER, "TIFFIN_TIERS__SMALL__GPUS": "2"}
    result = run(two, "-c", ASK)
    assert result.returncode == 1
    assert "cannot be cut over 2 GPUs: it has 9 attention heads" in result.stderr
    model = "qwen2.5-coder-1.5b-instruct-bf16"
    found = places({**two, "TIFFIN_TIERS__SMALL__MODEL": model})
    assert found["SmallLLM"] == ["0,1", None, 2]


def test_a_service_in_a_container_of_its_own_plans_itself_alone(tmp_path: Path) -> None:
    alone = {**fake_gpus(tmp_path, 4096), **VLLM_TIER, "BENTOML_SERVE_SERVICE_NAME": "SmallLLM"}
    found = places(alone)
    assert found["Embedding"] is None
    assert found["SmallLLM"] == ["0", None, 1]


def test_without_a_gpu_nothing_is_placed(tmp_path: Path) -> None:
    found = places({**fake_gpus(tmp_path, 23034), "CUDA_VISIBLE_DEVICES": ""})
    assert not any(found.values())


@pytest.mark.parametrize(
    ("gpus", "more", "complaint"),
    [
        ((1024,), {}, "needs 1."),
        ((23034,), {"CUDA_VISIBLE_DEVICES": "3"}, "names GPU 3, which does not exist"),
        ((23034,), {"TIFFIN_TIERS__SMALL__CONTEXT_TOKENS": "4000000"}, "What fits: a context of"),
    ],
)
def test_serve_refuses_before_weights_load(
    tmp_path: Path, gpus: tuple[int, ...], more: dict[str, str], complaint: str
) -> None:
    environment = {
        **fake_gpus(tmp_path, *gpus),
        **VLLM_TIER,
        **more,
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    result = run(environment, bentoml, "serve", "--port", str(free_port()))
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("tiffin: ")]
    assert len(lines) == 1, result.stderr[-2000:]
    assert complaint in lines[0]
