"""`/v1/completions` in front of weightless services."""

import json
from typing import Any

import pytest

from models.values import TextDelta, TokenLogprob
from tests.support.services import Services, entry
from tiffin.config.settings import Settings

URL = "/v1/completions"
ASKED: dict[str, Any] = {"model": "small", "prompt": "The tower is"}


async def test_a_prompt_goes_raw_with_openai_s_defaults(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        body = (await client.post(URL, json=ASKED)).json()
    (sent,) = services.prompts
    assert (sent.prompt, sent.messages, sent.max_tokens) == ("The tower is", [], 16)
    assert body["choices"] == [
        {
            "index": 0,
            "text": "The tower is 324 metres tall.",
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (body["object"], body["usage"]["completion_tokens"]) == ("text_completion", 6)


async def test_each_prompt_gets_n_answers_in_order(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        body = (
            await client.post(URL, json={**ASKED, "prompt": ["a", "b"], "n": 2, "best_of": 2})
        ).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert sorted(str(sent.prompt) for sent in services.prompts) == ["a", "a", "b", "b"]
    assert body["usage"]["prompt_tokens"] == 14, "two prompts, each once"


@pytest.mark.parametrize(
    ("prompt", "sent"), [([1, 2, 3], [[1, 2, 3]]), ([[1, 2], [3]], [[1, 2], [3]])]
)
async def test_prompts_may_be_tokens(
    services: Services, settings: Settings, prompt: Any, sent: list[list[int]]
) -> None:
    async with entry(services, settings) as client:
        assert (await client.post(URL, json={**ASKED, "prompt": prompt})).status_code == 200
    assert sorted([request.prompt for request in services.prompts], key=str) == sent


async def test_a_stream_is_one_chunk_an_event(services: Services, settings: Settings) -> None:
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**ASKED, **fields})
    *frames, done = [line[6:] for line in response.text.split("\n\n") if line]
    *pieces, last, usage = map(json.loads, frames)
    assert [piece["choices"][0]["text"] for piece in pieces] == list(services.answer)
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 13)


async def test_logprobs_have_the_older_shape(services: Services, settings: Settings) -> None:
    tokens = [TokenLogprob("A", -0.1, [65], [TokenLogprob("A", -0.1, [65])])]
    services.events = [TextDelta("A", tokens), TextDelta("A", tokens)]
    async with entry(services, settings) as client:
        body = (await client.post(URL, json={**ASKED, "logprobs": 1})).json()
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["A", "A"],
        "token_logprobs": [-0.1, -0.1],
        "top_logprobs": [{"A": -0.1}, {"A": -0.1}],
        "text_offset": [0, 1],
    }


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": 6}, "logprobs"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    services: Services, settings: Settings, change: dict[str, Any], param: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**ASKED, **change})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert not services.prompts
