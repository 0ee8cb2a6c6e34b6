"""A second opinion of an LLM on whether the evidence answers (`rag.confirm`)."""

import logging
from typing import Any

import pytest

from tests.api.test_access_log import lines
from tests.support.leaning import Leaning
from tests.support.services import Services, entry
from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings
from tiffin.core.errors import InvalidRequest, TiffinError, Unavailable

DOCUMENTS = ["The tower is old.", "Bread is baked in an oven."]
UNSURE = {"query": "how old is the tower", "documents": DOCUMENTS, "model": "quote"}
SURE = {"query": "what can you bake here", "documents": DOCUMENTS, "model": "quote"}


def confirmed(settings: Settings, tier: str = "large") -> Settings:
    return settings.model_copy(update={"rag": settings.rag.model_copy(update={"confirm": tier})})


async def ask(services: Services, settings: Settings, body: dict[str, Any]) -> Any:
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_yes_makes_an_answer_likelier_and_a_no_unlikelier(settings: Settings) -> None:
    said = {}
    for yes in (0.99, 0.01):
        services, reader = Services(), Leaning(yes)
        services.generate_of = {"large": reader.generate}
        said[yes] = await ask(services, confirmed(settings), UNSURE)
        (read,) = reader.read
        assert read.messages[-1].content.endswith("Question: how old is the tower")
        assert said[yes]["timings"]["confirm_ms"] > 0
    alone = await ask(Services(), settings, UNSURE)
    assert said[0.01]["probability"] < alone["probability"] < said[0.99]["probability"]
    assert [said[yes]["answered"] for yes in (0.99, 0.01)] == [True, False]


async def test_evidence_that_is_sure_is_not_asked_about(settings: Settings) -> None:
    services, reader = Services(), Leaning(0.99)
    services.generate_of = {"large": reader.generate}
    said = await ask(services, confirmed(settings), SURE)
    assert (said["answered"], reader.read) == (False, [])


@pytest.mark.parametrize("error", [Unavailable("it is dead"), InvalidRequest("it is too long")])
async def test_without_a_second_opinion_the_evidence_decides_and_the_answer_says_so(
    settings: Settings, error: TiffinError
) -> None:
    services = Services()
    services.fails = {"large": error}
    said = await ask(services, confirmed(settings), UNSURE)
    alone = await ask(Services(), settings, UNSURE)
    assert said["degraded"] == ["confirm"]
    assert said["probability"] == alone["probability"]


async def test_a_tier_that_is_too_slow_to_confirm_may_still_write(settings: Settings) -> None:
    services = Services()
    services.delays_s = {"large": 1.0}
    budget = settings.resilience.budget.model_copy(update={"confirm_ms": 1, "rest_ms": 1})
    resilience = settings.resilience.model_copy(update={"budget": budget})
    hasty = confirmed(settings).model_copy(update={"resilience": resilience})
    async with entry(services, hasty) as client:
        for _ in range(settings.routing.failover.breaker_failures + 1):
            late = (await client.post("/rag_query", json=UNSURE | {"timeout_ms": 500})).json()
            assert late["degraded"][-1] == "confirm", late
        wrote = await client.post("/rag_query", json=UNSURE | {"model": "large"})
    assert wrote.json()["route"]["tier"] == "large"


async def test_what_it_costs_is_on_the_bill_and_the_answer_is_still_the_quote(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tiffin")
    services, reader = Services(), Leaning(0.99)
    services.generate_of = {"large": reader.generate}
    said = await ask(services, confirmed(settings), UNSURE)
    assert (said["route"]["tier"], said["cost"]["attempts"]) == ("quote", 1)
    (line,) = lines(caplog)
    assert (line["tier"], line["model"], line["prompt_tokens"]) == ("quote", "quote", 90)


@pytest.mark.parametrize("tier", ["huge", "mute"])
async def test_a_tier_that_cannot_say_it_is_refused_at_start(settings: Settings, tier: str) -> None:
    small = settings.tiers["small"].model_copy(update={"capabilities": ("completion",)})
    mute = settings.model_copy(update={"tiers": {**settings.tiers, "small": small}})
    with pytest.raises(SettingsError, match=r"rag\.confirm"):
        async with entry(Services(), confirmed(mute, "huge" if tier == "huge" else "small")):
            pass
