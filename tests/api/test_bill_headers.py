"""What a response's headers and body say of who answered and what it cost."""

from tests.api.test_rag_query import QUESTION
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.errors import UpstreamFailed


async def test_a_whole_answer_names_its_tier_and_its_cost(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": UpstreamFailed("broken")}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=QUESTION)
    assert response.headers["x-tiffin-tier"] == "large"
    assert float(response.headers["x-tiffin-cost-usd"]) == 0
    assert response.json()["cost"]["attempts"] == 2


async def test_a_stream_tells_its_cost_at_its_end_only(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"token": 0.02}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**QUESTION, "stream": True})
    assert response.headers["x-tiffin-tier"] == "small"
    assert "x-tiffin-cost-usd" not in response.headers
    assert '"cost":{"usd":0.0' in response.text
