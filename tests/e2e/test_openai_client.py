"""The official OpenAI client against the real stack: what its users call, and what they catch.

Shapes are checked three times: by the client, strictly against its own types, and against OpenAI's
published schema. tests/compat has the other clients.
"""

import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import openai
import pydantic
import pytest
import pytest_asyncio
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from tests.support.openai_schema import assert_valid
from tests.support.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MODEL = "auto"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of Japan?"}]
GREEDY: Any = {"temperature": 0, "max_tokens": 24}
WEATHER: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}


class City(pydantic.BaseModel):
    """What the structured answers are made of."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


@pytest.fixture
def client(stack: Stack) -> Generator[openai.OpenAI, None, None]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(stack: Stack) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with openai.AsyncOpenAI(
        base_url=f"{stack.url}/v1", api_key="none", max_retries=0
    ) as client:
        yield client


SCHEMA = {
    ChatCompletion: "CreateChatCompletionResponse",
    ChatCompletionChunk: "CreateChatCompletionStreamResponse",
    Completion: "CreateCompletionResponse",
    Response: "Response",
}


def valid(kind: type[openai.BaseModel], value: openai.BaseModel) -> None:
    """Hold a value to its type and its schema; the client itself takes whatever comes."""
    kind.model_validate_json(value.model_dump_json(warnings="none"), strict=True)
    assert_valid(SCHEMA.get(kind, "ResponseStreamEvent"), value.to_dict(mode="json"))


def test_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, **GREEDY)
    valid(ChatCompletion, answer)
    assert "Tokyo" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_with_usage(client: openai.OpenAI) -> None:
    text, usage = "", None
    with client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        **GREEDY,
    ) as stream:
        for chunk in stream:
            valid(ChatCompletionChunk, chunk)
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
            usage = chunk.usage or usage
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, **GREEDY)
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert usage.completion_tokens > 0


async def test_an_async_chat_and_stream(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(model=MODEL, messages=MESSAGES, **GREEDY)
    stream = await async_client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, **GREEDY
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == answer.choices[0].message.content


async def test_the_client_s_stream_helper_follows_the_events(
    async_client: openai.AsyncOpenAI,
) -> None:
    async with async_client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, **GREEDY
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Tokyo" in (final.choices[0].message.content or "")


def test_a_seed_gives_the_same_answer_again(client: openai.OpenAI) -> None:
    options: Any = {"model": MODEL, "messages": MESSAGES, "seed": 7, "temperature": 1.0}
    # The first call leaves the prompt in the engine's cache, so that the others read it alike. Two
    # choices at once would be computed in one batch or in two, whose rounding differs.
    texts = [
        client.chat.completions.create(**options, max_tokens=12).choices[0].message.content
        for _ in range(3)
    ]
    assert texts[1] == texts[2]


def test_n_stop_and_logprobs(client: openai.OpenAI) -> None:
    options: Any = {
        "model": MODEL,
        "messages": MESSAGES,
        "n": 2,
        "seed": 7,
        "temperature": 1.0,
        "max_tokens": 12,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 2,
    }
    answer = client.chat.completions.create(**options)
    valid(ChatCompletion, answer)
    assert len(answer.choices) == 2
    for choice in answer.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        assert b"".join(bytes(token.bytes or []) for token in tokens).decode() == (
            choice.message.content
        )
        assert all(len(token.top_logprobs) == 2 for token in tokens)


def test_a_structured_answer_parses(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=City, temperature=0, max_tokens=60
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_json_object(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "A person as JSON."}],
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=120,
    )
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


def test_a_tool_is_called_and_its_result_sent_back(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    messages: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    answer = client.chat.completions.create(
        model=MODEL,
        messages=messages,
        tools=tools,
        tool_choice="required",
        temperature=0,
        max_tokens=60,
    )
    valid(ChatCompletion, answer)
    message = answer.choices[0].message
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, answer.choices[0].finish_reason) == ("weather", "tool_calls")
    assert set(json.loads(call.function.arguments)) == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}
    messages += [message, result]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=tools, **GREEDY)
    assert second.choices[0].finish_reason in {"stop", "length", "tool_calls"}


def test_a_streamed_tool_call(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    with client.chat.completions.stream(
        model=MODEL,
        messages=MESSAGES,
        tools=tools,
        tool_choice={"type": "function", "function": {"name": "weather"}},
        temperature=0,
        max_tokens=60,
    ) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_a_strict_tool_that_may_be_called(client: openai.OpenAI) -> None:
    """The client's own helper makes it strict; whether it is called is the model's choice."""
    answer = client.chat.completions.parse(
        model=MODEL, messages=MESSAGES, tools=[openai.pydantic_function_tool(City)], **GREEDY
    )
    for call in answer.choices[0].message.tool_calls or []:
        assert isinstance(call.function.parsed_arguments, City)


def test_a_schema_that_the_engine_gives_up_on_is_an_error(client: openai.OpenAI) -> None:
    some = [{f"p{number}": {"type": "string"} for number in range(n, n + 50)} for n in range(20)]
    schema = {"anyOf": [{"type": "object", "properties": properties} for properties in some]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    fields: Any = {"model": MODEL, "messages": MESSAGES, "response_format": form, **GREEDY}
    with pytest.raises(openai.BadRequestError, match="too complex") as whole:
        client.chat.completions.create(**fields)
    with pytest.raises(openai.APIError, match="too complex") as streamed:
        list(client.chat.completions.create(**fields, stream=True))
    assert (whole.value.param, streamed.value.param) == ("response_format", "response_format")


def test_a_raw_completion(client: openai.OpenAI) -> None:
    options: Any = {"model": MODEL, "prompt": "The capital of Japan is", "temperature": 0}
    options["max_tokens"] = 4  # what comes later is a matter of rounding
    answer = client.completions.create(**options, logprobs=1)
    valid(Completion, answer)
    assert "Tokyo" in answer.choices[0].text
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**options, stream=True)]
    assert "".join(pieces) == answer.choices[0].text


def test_a_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model=MODEL,
        instructions="Answer in one sentence.",
        input="What is the capital of Japan?",
        temperature=0,
        max_output_tokens=24,
    )
    valid(Response, answer)
    assert "Tokyo" in answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


async def test_a_streamed_response(async_client: openai.AsyncOpenAI) -> None:
    text, kinds = "", []
    options: Any = {"temperature": 0, "max_output_tokens": 24}
    stream = await async_client.responses.create(
        model=MODEL, input="What is the capital of Japan?", stream=True, **options
    )
    async for event in stream:
        valid(type(event), event)
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            assert event.response.output_text == text
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_a_structured_response(client: openai.OpenAI) -> None:
    answer = client.responses.parse(
        model=MODEL,
        input="A capital city.",
        text_format=City,
        temperature=0,
        max_output_tokens=60,
    )
    assert isinstance(answer.output_parsed, City)


def test_a_function_call_in_a_response_and_its_output_sent_back(client: openai.OpenAI) -> None:
    tools: Any = [
        {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True},
    ]
    turns: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    options: Any = {"temperature": 0, "max_output_tokens": 60}
    answer = client.responses.create(
        model=MODEL, input=turns, tools=tools, tool_choice="required", **options
    )
    valid(Response, answer)
    (call,) = answer.output
    assert call.type == "function_call"
    turns += [
        call.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    second = client.responses.create(model=MODEL, input=turns, **options)
    assert second.output_text


def test_errors_are_the_client_s_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as image:
        client.chat.completions.create(
            model=MODEL,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
                    ],
                }
            ],
        )
    assert image.value.param == "messages[0].content[0]"
    with pytest.raises(openai.BadRequestError) as schema:
        client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "strange"}},
            },
        )
    assert schema.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(model=MODEL, input="Hello", store=True)
    assert stored.value.param == "store"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 5000}]
        )
    assert long.value.code == "context_length_exceeded"
