"""`/v1/decisions`: what stands behind each answer, in front of weightless services."""

import math
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from models.values import (
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
)
from tests.support.providers import Step, fake_provider
from tests.support.services import Generate, Services, entry
from tiffin.config.routing import ProviderSettings
from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext

TEXT = "The tower is tall. It was built in 1931."
OPTIONS = [{"value": "a tower"}, {"value": "a lake"}, {"value": True}]
PREDICATE = {"type": "predicate", "name": "tall", "instructions": "The tower is tall."}
CHOICE = {"type": "choice", "instructions": "What is tall?", "choices": OPTIONS}
SCORE = {
    "type": "score",
    "instructions": "How tall is it?",
    "levels": [{"label": "low"}, {"label": "middling", "description": "3 m"}, {"label": "high"}],
}
IMAGE = {"type": "input_image", "image_url": "https://a/b.png"}
OPEN = {"type": "predicate", "instructions": "When was the tower built?"}


def asking(*questions: Any, **more: Any) -> dict[str, Any]:
    return {"model": "small", "input": TEXT, "questions": list(questions), **more}


def telling(with_text: dict[str, float], without: dict[str, float]) -> Generate:
    """A tier whose first token has these probabilities, with the text and without it."""

    async def generate(
        request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        shares = with_text if TEXT in request.messages[0].content else without
        top = [TokenLogprob(token, math.log(share)) for token, share in shares.items()]
        yield TextDelta(top[0].token, [TokenLogprob(top[0].token, top[0].logprob, [], top)])
        yield Finished("length", TokenUsage(prompt_tokens=7, completion_tokens=1))

    return generate


async def test_a_tier_is_judged_by_its_next_token(services: Services, settings: Settings) -> None:
    services.generate_of["small"] = telling(
        {"yes": 0.5, "No": 0.2, " Yes": 0.1, "Well": 0.2}, {"No": 0.8, "Yes": 0.2}
    )
    async with entry(services, settings) as client:
        body = (await client.post("/v1/decisions", json=asking(PREDICATE))).json()
    (answer,) = body["answers"]
    assert answer["probability"] == pytest.approx(3 / 3.25, abs=0.01), "0.6 / 0.2 to 0.2 / 0.8"
    assert (answer["type"], answer["name"]) == ("predicate", "tall")
    assert answer["basis"] == {"by": "next_token", "model": "model-small", "share": 0.8}
    assert (body["model"], body["usage"]["input_tokens"]) == ("model-small", 14)


async def test_options_and_levels_have_a_probability_each(
    services: Services, settings: Settings
) -> None:
    services.generate_of["small"] = telling({"B": 0.6, "C": 0.2, "a": 0.2}, dict.fromkeys("ABC", 1))
    async with entry(services, settings) as client:
        body = (await client.post("/v1/decisions", json=asking(CHOICE, SCORE))).json()
    choice, score = body["answers"]
    assert (choice["choice"], choice["name"]) == ("a lake", None)
    assert choice["confidence"] == pytest.approx(0.6)
    assert [one["value"] for one in choice["probabilities"]] == ["a tower", "a lake", True]
    assert [one["label"] for one in score["probabilities"]] == ["low", "middling", "high"]
    assert [one["value"] for one in score["probabilities"]] == [0, 1, 2]
    assert score["score"] == pytest.approx(1.0)


async def test_more_options_than_letters_are_asked_in_groups(
    services: Services, settings: Settings
) -> None:
    services.generate_of["small"] = telling({"B": 0.9, "A": 0.1}, dict.fromkeys("AB", 0.5))
    options = [{"value": f"option {number}"} for number in range(25)]
    asked = asking({**CHOICE, "choices": options})
    async with entry(services, settings) as client:
        (answer,) = (await client.post("/v1/decisions", json=asked)).json()["answers"]
    shares = [one["probability"] for one in answer["probabilities"]]
    assert sum(shares) == pytest.approx(1)
    assert answer["choice"] == "option 14", "B of the second group, which is B of the winners"


async def test_a_model_that_would_say_something_else_refuses(
    services: Services, settings: Settings
) -> None:
    services.generate_of["small"] = telling({"<think>": 0.99, "Yes": 0.01}, {})
    async with entry(services, settings) as client:
        (answer,) = (await client.post("/v1/decisions", json=asking(PREDICATE))).json()["answers"]
    assert (answer["type"], answer["name"]) == ("refusal", "tall")


@pytest.mark.parametrize("model", ["auto", "quote"])
async def test_what_asks_is_left_to_the_encoders(
    services: Services, settings: Settings, model: str
) -> None:
    async with entry(services, settings) as client:
        body = (await client.post("/v1/decisions", json=asking(OPEN, CHOICE, model=model))).json()
    answerable, choice = body["answers"]
    assert (answerable["basis"]["by"], choice["basis"]["by"]) == ("answerability", "reranker")
    assert 0 <= answerable["probability"] <= 1
    assert choice["choice"] == "a tower"
    assert services.calls.count("small") == 0


async def test_a_statement_needs_a_tier(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        refused = await client.post("/v1/decisions", json=asking(PREDICATE, model="quote"))
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "model")
    assert "questions[0]" in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": "  "}, "input"),
        ({"questions": []}, "questions"),
        ({"questions": [{**CHOICE, "choices": OPTIONS[:1]}]}, "questions[0].choices"),
        ({"questions": [{**CHOICE, "choices": [OPTIONS[0]] * 2}]}, "questions[0]"),
        ({"questions": [{**SCORE, "levels": [{"label": "x"}] * 11}]}, "questions[0].levels"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0]"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input[0].call_id",
        ),
    ],
)
async def test_what_cannot_be_judged_is_named(
    services: Services, settings: Settings, change: dict[str, Any], param: str
) -> None:
    async with entry(services, settings) as client:
        refused = await client.post("/v1/decisions", json=asking(PREDICATE) | change)
    assert (refused.status_code // 100, refused.json()["error"]["param"]) == (4, param)


async def test_a_conversation_is_read_with_its_roles(
    services: Services, settings: Settings
) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_json", "data": {"tower": "tall"}}]},
        {"type": "function_call", "call_id": "c", "name": "height", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "212 m"},
    ]
    async with entry(services, settings) as client:
        await client.post("/v1/decisions", json=asking(PREDICATE, input=items))
    read = services.prompts[0].messages[0].content
    assert 'user: {"tower": "tall"}\n\ncall: height({})\n\nresult: 212 m' in read


@pytest.mark.parametrize("offered", [True, False])
async def test_a_provider_that_offers_decisions_answers_them(
    services: Services, settings: Settings, offered: bool
) -> None:
    usage: dict[str, Any] = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage |= details | {"output_tokens_details": {"reasoning_tokens": 0}}
    found = {"type": "predicate", "name": "tall", "probability": 0.9}
    own = {"model": "big", "answers": [found], "usage": usage}
    async with fake_provider(Step(body=own) if offered else Step(404)) as fake:
        provider = {
            "provider": "openai-compatible",
            "model": "big",
            "base_url": fake.url,
            "capabilities": ["logprobs"],
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        }
        told = settings.model_copy(
            update={"providers": {"far": ProviderSettings.model_validate(provider)}}
        )
        async with entry(services, told) as client:
            answer = await client.post("/v1/decisions", json=asking(PREDICATE, model="far"))
    if offered:
        assert answer.json()["answers"] == [found | {"basis": {"by": "provider", "model": "big"}}]
        assert answer.json()["usage"]["input_tokens"] == 9
        assert fake.requests[0]["questions"] == [PREDICATE]
        assert "x-tiffin-cost-usd" in answer.headers
    else:
        assert "messages" in fake.requests[-1], answer.text
