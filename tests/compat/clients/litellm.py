"""LiteLLM as a client library. Never a dependency: it lives in an environment of its own."""

import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for prices

import litellm
import pydantic

from tests.compat.calls import (
    DEEPEST,
    EMBEDDER,
    KEY,
    LAKE,
    PASSAGES,
    QUESTION,
    RERANKER,
    URL,
    V1,
    Calls,
)

calls = Calls("litellm")

OPENAI: Any = {"api_base": V1, "api_key": KEY}
GREEDY: Any = {"temperature": 0, "max_tokens": 40}
TURNS: Any = [{"role": "user", "content": QUESTION}]


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


def ask(**fields: Any) -> Any:
    fields = {"model": "openai/auto", "messages": TURNS, **GREEDY, **fields}
    return litellm.completion(**OPENAI, **fields)


@calls.works('completion(model="openai/auto")')
def completion() -> None:
    assert "Tokyo" in ask().choices[0].message.content


@calls.works('completion(model="hosted_vllm/small")')
def as_vllm() -> None:
    assert "Tokyo" in ask(model="hosted_vllm/small").choices[0].message.content


@calls.works("completion(stream=True, stream_options)")
def streamed() -> None:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "Tokyo" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].usage.completion_tokens > 0


@calls.works("acompletion, also stream=True")
async def asynchronous() -> None:
    fields = {"model": "openai/auto", "messages": TURNS, **OPENAI, **GREEDY}
    whole = await litellm.acompletion(**fields)
    stream = await litellm.acompletion(**fields, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content


@calls.works("completion(response_format=Model)")
def structured() -> None:
    text = ask(response_format=City, max_tokens=60).choices[0].message.content
    City.model_validate_json(text)


@calls.works("completion(tools)")
def tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    message = ask(tools=[tool], tool_choice="required", max_tokens=60).choices[0].message
    assert message.tool_calls[0].function.name == "weather"


@calls.works("text_completion")
def text() -> None:
    asked = {"prompt": "The capital of Japan is", "temperature": 0, "max_tokens": 16}
    answer = litellm.text_completion(model="text-completion-openai/auto", **asked, **OPENAI)
    assert "Tokyo" in answer.choices[0].text


@calls.works("responses, also stream=True")
def responses() -> None:
    fields: Any = {"model": "openai/auto", "input": QUESTION, "max_output_tokens": 40, **OPENAI}
    assert litellm.responses(**fields).output[0].content[0].text
    events = list(litellm.responses(**fields, stream=True))
    assert events[-1].type == "response.completed"


@calls.works("embedding")
def embedding() -> None:
    answer = litellm.embedding(model=f"openai/{EMBEDDER}", input=PASSAGES, **OPENAI)
    assert [len(item["embedding"]) for item in answer.data] == [384] * 3


@calls.works('rerank(model="cohere/..."), rerank(model="hosted_vllm/...")')
def rerank() -> None:
    for provider in ("cohere", "hosted_vllm"):
        answer = litellm.rerank(
            model=f"{provider}/{RERANKER}",
            query=LAKE,
            documents=PASSAGES,
            top_n=2,
            api_base=URL,
            api_key=KEY,
        )
        assert answer.results[0]["index"] == DEEPEST, provider


@calls.works("errors: NotFoundError, BadRequestError")
def errors() -> None:
    wrong: list[tuple[type[Exception], Any]] = [
        (litellm.NotFoundError, {"model": "openai/gpt-9"}),
        (litellm.BadRequestError, {"n": 99}),
    ]
    for kind, change in wrong:
        try:
            ask(**change)
        except kind:
            continue
        raise AssertionError(change)


if __name__ == "__main__":
    calls.run()
