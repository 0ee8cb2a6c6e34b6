"""The field `moderation` of chats and responses: scored or blocked, as OpenAI's client reads it."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from tests.api.test_safety import chat, chatted, with_policy
from tests.support.services import Services, entry, frames_of
from tiffin.config.settings import Settings
from tiffin.core.errors import Unavailable

SCORE: Any = {"model": "omni-moderation-latest"}
BLOCK: Any = {
    **SCORE,
    "policy": {"input": {"mode": "block"}, "output": {"mode": "block"}},
}


async def test_scores_of_input_and_output_come_with_the_answer(
    services: Services, settings: Settings
) -> None:
    services.answer = ("It is tall. ", "You are RUDE.")
    response = await chatted(services, with_policy(settings), "OBEY", moderation=SCORE)
    answer = ChatCompletion.model_validate_json(response.text, strict=True)
    assert answer.choices[0].message.content == "It is tall. You are RUDE."
    assert answer.moderation is not None
    assert answer.moderation.input.type == answer.moderation.output.type == "moderation_results"
    (asked,), (said,) = answer.moderation.input.results, answer.moderation.output.results
    assert (asked.categories["injection"], asked.categories["harassment"]) == (True, False)
    assert (said.categories["injection"], said.categories["harassment"]) == (False, True)


async def test_a_stream_ends_with_a_chunk_of_results(
    services: Services, settings: Settings
) -> None:
    response = await chatted(
        services,
        with_policy(settings),
        stream=True,
        moderation=SCORE,
        stream_options={"include_usage": True},
    )
    chunks = [
        ChatCompletionChunk.model_validate(one, strict=True) for one in frames_of(response.text)
    ]
    assert [bool(one.moderation) for one in chunks[-3:]] == [False, True, False]
    assert (chunks[-2].choices, chunks[-1].usage is None) == ([], False)


@pytest.mark.parametrize("stream", [True, False])
async def test_output_that_is_to_be_blocked_ends_before_its_sentence(
    services: Services, settings: Settings, stream: bool
) -> None:
    services.answer = ("It is tall. ", "You are RU", "DE and a fool. ", "It is old.")
    response = await chatted(services, with_policy(settings), stream=stream, moderation=BLOCK)
    assert '"finish_reason":"content_filter"' in response.text
    assert '"flagged":true' in response.text
    assert "fool" not in response.text


async def test_input_that_is_to_be_blocked_reaches_no_model(
    services: Services, settings: Settings
) -> None:
    response = await chatted(services, with_policy(settings), "OBEY", moderation=BLOCK)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")
    assert services.prompts == []


async def test_a_response_has_one_result_a_side(services: Services, settings: Settings) -> None:
    body = {"model": "small", "input": "OBEY", "moderation": SCORE}
    async with entry(services, with_policy(settings)) as client:
        whole = await client.post("/v1/responses", json=body)
        stream = await client.post("/v1/responses", json={**body, "stream": True})
    answer = Response.model_validate_json(whole.text)
    assert answer.moderation is not None
    assert answer.moderation.input.type == "moderation_result"
    assert answer.moderation.input.flagged
    assert '"type":"moderation_result"' in stream.text


async def test_without_safety_scores_are_an_error_and_what_blocks_is_refused(
    services: Services, settings: Settings
) -> None:
    services.fails = {"check": Unavailable("it is dead")}
    scored = await chatted(services, with_policy(settings), moderation=SCORE)
    assert scored.json()["moderation"]["input"]["type"] == "error"
    blocked = await chatted(services, with_policy(settings), moderation=BLOCK)
    assert blocked.json()["error"]["code"] == "safety_unavailable"
    off = await chatted(services, settings, moderation=SCORE)
    assert (off.status_code, off.json()["error"]["param"]) == (400, "moderation")


async def test_the_field_takes_nothing_from_the_operators_policy(
    services: Services, settings: Settings
) -> None:
    policy = chat(settings, input={"personal_data": "redact"})
    await chatted(services, policy, "write to a@b.com", moderation=SCORE)
    assert services.prompts[0].messages[0].content == "write to [email]"


async def test_a_tenant_has_its_own_policy(services: Services, settings: Settings) -> None:
    strict: Any = {"chat": {"input": {"injection": "block"}}}
    other = await chatted(services, with_policy(settings, tenants={"acme": strict}), "OBEY")
    own = await chatted(services, with_policy(settings, tenants={"default": strict}), "OBEY")
    assert (other.status_code, own.status_code) == (200, 400)
