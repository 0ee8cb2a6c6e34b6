"""Anthropic's own Python client."""

from typing import Any

import anthropic

from tests.compat.calls import KEY, QUESTION, URL, Calls

calls = Calls("anthropic")
ASKED: Any = {
    "model": "auto",
    "max_tokens": 24,
    "messages": [{"role": "user", "content": QUESTION}],
    "extra_body": {"temperature": 0},
}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
    },
}


def client() -> Any:
    return anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)


@calls.works("messages.create")
def create() -> None:
    message = client().messages.create(**ASKED)
    assert "Tokyo" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens


@calls.works("messages.create(system, stop_sequences)")
def system() -> None:
    client().messages.create(**ASKED, system="Be brief.", stop_sequences=["."])


@calls.works("messages.stream")
def stream() -> None:
    with client().messages.stream(**ASKED) as streamed:
        text = "".join(streamed.text_stream)
        message = streamed.get_final_message()
    assert "Tokyo" in text
    assert message.content[0].text == text
    assert message.usage.output_tokens


@calls.works("AsyncAnthropic: messages.create(stream=True)")
async def asynchronous() -> None:
    async with anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0) as one:
        names = [event.type async for event in await one.messages.create(**ASKED, stream=True)]
    assert names[-1] == "message_stop"


@calls.works("messages.create(tools, tool_choice), the result sent back")
def tools() -> None:
    asked = {**ASKED, "tools": [WEATHER], "max_tokens": 60}
    called = client().messages.create(**asked, tool_choice={"type": "tool", "name": "weather"})
    use = called.content[-1]
    assert (called.stop_reason, use.type, list(use.input)) == ("tool_use", "tool_use", ["city"])
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    turns = [
        *ASKED["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    client().messages.create(**{**asked, "messages": turns})


@calls.works("messages.count_tokens")
def count() -> None:
    counted = client().messages.count_tokens(model="auto", messages=ASKED["messages"])
    read = client().messages.create(**ASKED).usage
    assert counted.input_tokens == read.input_tokens + (read.cache_read_input_tokens or 0)


@calls.works("errors: NotFoundError, BadRequestError")
def errors() -> None:
    for change, expected in (
        ({"model": "claude-9"}, anthropic.NotFoundError),
        ({"max_tokens": 10**4}, anthropic.BadRequestError),
    ):
        try:
            client().messages.create(**{**ASKED, **change})
        except expected:
            continue
        raise AssertionError(f"{change} was served")


@calls.fails(
    "messages.create with an answer to continue",
    error="the last turn must be the user's",
    why="no model here continues an assistant's turn: 400; ask in the user's turn",
)
def prefill() -> None:
    begun = {"role": "assistant", "content": "It is"}
    client().messages.create(**{**ASKED, "messages": [*ASKED["messages"], begun]})


@calls.fails(
    "messages.create(thinking={'type': 'enabled'})",
    error="thinking",
    why="no model here is told how long to think: 400; `adaptive` and `disabled` are accepted",
)
def thinking() -> None:
    client().messages.create(**ASKED, thinking={"type": "enabled", "budget_tokens": 1024})


if __name__ == "__main__":
    calls.run()
