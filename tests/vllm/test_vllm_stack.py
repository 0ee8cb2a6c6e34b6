"""Both tiers on vLLM behind `bentoml serve`: they come up in turn, and show only what is ours."""

import re
from collections.abc import Generator

import aiohttp
import httpx
import pytest

from tests.support import stack as stacks
from tests.support.stack import Stack, running_stack

MODEL = "smollm2-135m-instruct-bf16"

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def both_tiers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    tiers = {
        f"TIFFIN_TIERS__{tier}__{key}": value
        for tier in ("SMALL", "LARGE")
        for key, value in {"MODEL": MODEL, "CONTEXT_TOKENS": "512", "PARALLEL": "2"}.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "START_LIMIT_S", 800)
        with running_stack(tmp_path_factory.mktemp("vllm"), **tiers, **stacks.WRITING) as running:
            yield running


def test_two_engines_started_together_load_one_after_the_other(both_tiers: Stack) -> None:
    log = both_tiers.log.read_text()
    spans = re.findall(r"(\w+LLM): loaded from ([\d.]+) to ([\d.]+)", log)
    assert {service for service, _, _ in spans} == {"SmallLLM", "LargeLLM"}
    (_, _, first_end), (_, second_start, _) = sorted(spans, key=lambda span: float(span[1]))
    assert float(first_end) <= float(second_start) + 0.01


def test_the_metrics_of_vllm_pass_through_unchanged(both_tiers: Stack) -> None:
    answer = httpx.post(
        f"{both_tiers.url}/rag_query",
        json={"query": "Where is it?", "documents": ["It is here."], "max_tokens": 4},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    text = httpx.get(f"{both_tiers.url}/metrics").text
    for name in ("vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:e2e_request"):
        assert name in text


VLLM_ROUTES = (
    "/v1/completions/render",
    "/invocations",
    "/pause",
    "/sleep",
    "/wake_up",
    "/tokenize",
    "/collective_rpc",
    "/v1/load_lora_adapter",
    "/reset_prefix_cache",
    "/server_info",
)


async def test_no_route_of_vllm_is_reachable(both_tiers: Stack) -> None:
    """It runs in our process as a library: there is no server of it to reach."""
    socket = both_tiers.service_urls()["SmallLLM"].removeprefix("file://")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:
        for path in VLLM_ROUTES:
            async with session.post(f"http://service{path}", json={}) as response:
                assert response.status in {404, 405}, path
    async with httpx.AsyncClient(base_url=both_tiers.url) as client:
        for path in VLLM_ROUTES:
            assert (await client.post(path, json={})).status_code in {404, 405}, path


def test_vllm_listens_on_no_port(both_tiers: Stack) -> None:
    """Its engine talks to our process over sockets of the file system and of loopback."""
    for process in both_tiers.processes():
        for connection in process.net_connections("tcp"):
            if connection.status == "LISTEN" and str(connection.laddr.port) not in both_tiers.url:
                assert connection.laddr.ip in {"127.0.0.1", "::1"}, connection
