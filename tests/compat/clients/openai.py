"""OpenAI's own Python client."""

import json
from typing import Any

import openai
import pydantic

from tests.compat.calls import EMBEDDER, KEY, QUESTION, V1, Calls, Try

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)
calls = Calls("openai")

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
CHAT: Any = {"model": "auto", "messages": MESSAGES, "temperature": 0, "max_tokens": 24}
ASKED: Any = {"model": "auto", "input": QUESTION, "temperature": 0, "max_output_tokens": 24}
CHOICES: Any = [{"value": "a tower"}, {"value": "a ship"}]
CITY: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]


class City(pydantic.BaseModel):
    """What the structured answers are made of."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


def async_client() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0)


@calls.works("chat.completions.create")
def chat() -> None:
    answer = client.chat.completions.create(**CHAT)
    assert "Tokyo" in (answer.choices[0].message.content or "")
    assert answer.usage is not None


@calls.works("chat.completions.create(stream=True, stream_options)")
def streamed_chat() -> None:
    chunks = list(
        client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Tokyo" in text
    assert chunks[-1].usage is not None


@calls.works("AsyncOpenAI: chat.completions.create, also stream=True")
async def async_chat() -> None:
    async with async_client() as client:
        answer = await client.chat.completions.create(**CHAT)
        stream = await client.chat.completions.create(**CHAT, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == answer.choices[0].message.content


@calls.works("chat.completions.stream")
def stream_helper() -> None:
    with client.chat.completions.stream(**CHAT) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Tokyo" in (final.choices[0].message.content or "")


@calls.works("chat.completions.create(n, stop, seed, logprobs)")
def choices() -> None:
    fields: Any = {"n": 2, "stop": ["\n"], "seed": 7, "logprobs": True, "top_logprobs": 2}
    answer = client.chat.completions.create(**{**CHAT, "temperature": 1}, **fields)
    assert len(answer.choices) == 2
    assert all(choice.logprobs and choice.logprobs.content for choice in answer.choices)


@calls.works("chat.completions.parse(response_format=Model)")
def structured_chat() -> None:
    answer = client.chat.completions.parse(
        model="auto", messages=MESSAGES, response_format=City, temperature=0, max_tokens=60
    )
    assert isinstance(answer.choices[0].message.parsed, City)


@calls.works('chat.completions.create(response_format={"type": "json_object"})')
def json_chat() -> None:
    answer = client.chat.completions.create(
        **{**CHAT, "max_tokens": 120}, response_format={"type": "json_object"}
    )
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


@calls.works("chat.completions.create(tools), the result sent back")
def tools() -> None:
    turns: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    fields = {"model": "auto", "tools": TOOLS, "temperature": 0, "max_tokens": 60}
    answer = client.chat.completions.create(messages=turns, tool_choice="required", **fields)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}
    turns += [answer.choices[0].message, result]
    assert client.chat.completions.create(messages=turns, **fields).choices


@calls.works("chat.completions.stream(tools)")
def streamed_tools() -> None:
    with client.chat.completions.stream(
        **{**CHAT, "max_tokens": 60}, tools=TOOLS, tool_choice="required"
    ) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert set(json.loads(call.function.arguments)) == {"city"}


@calls.works("chat.completions.parse(tools=[pydantic_function_tool]), the turn sent back")
def parsed_tools() -> None:
    turns: Any = [{"role": "user", "content": "Is Paris a capital?"}]
    offered = [openai.pydantic_function_tool(City, name="city")]
    fields: Any = {"model": "auto", "tools": offered, "temperature": 0, "max_tokens": 60}
    asked: Any = {"messages": turns, "tool_choice": "required", **fields}
    parsed: Any = client.chat.completions.parse(**asked).choices[0].message
    with client.chat.completions.stream(**asked) as stream:
        streamed: Any = stream.get_final_completion().choices[0].message
    for message in (parsed, streamed):
        (call,) = message.tool_calls
        assert isinstance(call.function.parsed_arguments, City)
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "yes"}
        assert client.chat.completions.create(messages=[*turns, message, result], **fields).choices


@calls.fails(
    "chat.completions.parse with a schema of which a keyword cannot be held to",
    error="uniqueItems",
    why="`set[str]` asks for `uniqueItems`, which no grammar holds: 400 that names the keyword",
)
def unheld_schema() -> None:
    class Cities(pydantic.BaseModel):
        names: set[str]

    client.chat.completions.parse(model="auto", messages=MESSAGES, response_format=Cities)


@calls.fails(
    "chat.completions.create with an image",
    error="an image needs a tier with vision",
    why="no model of the laptop's reads images: 400; providers with `vision` do",
)
def image() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    turns: Any = [{"role": "user", "content": [picture]}]
    client.chat.completions.create(model="auto", messages=turns)


@calls.fails(
    "chat.completions.create(store=True)",
    error="store",
    why="Tiffin keeps no conversations: 400; leave it out or say False",
)
def stored_chat() -> None:
    client.chat.completions.create(**CHAT, store=True)


@calls.works("completions.create, also stream=True")
def completion() -> None:
    asked: Any = {"prompt": "The capital of Japan is", "temperature": 0, "max_tokens": 4}
    answer = client.completions.create(model="auto", **asked)
    stream = client.completions.create(model="auto", **asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


@calls.works("responses.create")
def response() -> None:
    answer = client.responses.create(**ASKED, instructions="Answer in one sentence.")
    assert "Tokyo" in answer.output_text


@calls.works("responses.create(stream=True)")
def streamed_response() -> None:
    events = list(client.responses.create(**ASKED, stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


@calls.works("AsyncOpenAI: responses.create(stream=True)")
async def async_response() -> None:
    async with async_client() as client:
        stream = await client.responses.create(**ASKED, stream=True)
        kinds = [event.type async for event in stream]
    assert kinds[-1] == "response.completed"


@calls.works("responses.parse(text_format=Model)")
def structured_response() -> None:
    answer = client.responses.parse(**{**ASKED, "max_output_tokens": 60}, text_format=City)
    assert isinstance(answer.output_parsed, City)


@calls.works("responses.stream(text_format=Model), the output sent back")
def streamed_structured_response() -> None:
    asked: Any = {**ASKED, "max_output_tokens": 60}
    with client.responses.stream(**asked, text_format=City) as stream:
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, City)
    turns: Any = [{"role": "user", "content": QUESTION}, *final.output]
    turns += [{"role": "user", "content": "Are you sure?"}]
    assert client.responses.create(**{**asked, "input": turns}).output


@calls.works("responses.create(tools), the output sent back")
def response_tools() -> None:
    offered: Any = [{"type": "function", "name": "weather", "parameters": CITY, "strict": True}]
    turns: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    fields: Any = {"model": "auto", "tools": offered, "temperature": 0, "max_output_tokens": 60}
    answer = client.responses.create(input=turns, tool_choice="required", **fields)
    (call,) = answer.output
    assert call.type == "function_call"
    turns += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert client.responses.create(input=turns, **fields).output


@calls.fails(
    "responses.create(previous_response_id)",
    error="previous_response_id",
    why="Tiffin keeps no conversations: 400; send the turns in `input`",
)
def continued_response() -> None:
    client.responses.create(**ASKED, previous_response_id="resp_1")


@calls.works("decisions.create(predicate, choice, score)")
def decisions() -> None:
    levels = [{"label": "short"}, {"label": "long"}]
    questions: Any = [
        {"type": "predicate", "instructions": "When was the tower built?"},
        {"type": "choice", "instructions": "What was built?", "choices": CHOICES},
        {"type": "score", "instructions": "How long is the text?", "levels": levels},
    ]
    answer = client.decisions.create(
        model="auto", input="The Vell Tower was built in 1931.", questions=questions
    )
    predicate, choice, score = answer.answers
    assert predicate.type == "predicate"
    assert predicate.probability > 0.5
    assert choice.type == "choice"
    assert choice.choice == "a tower"
    assert score.type == "score"
    assert 0 <= score.score <= 1


@calls.works("embeddings.create, which asks for base64")
def embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=["a text", "another"])
    assert [len(item.embedding) for item in answer.data] == [384, 384]


@calls.works('embeddings.create(encoding_format="float")')
def float_embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDER, input="a text", encoding_format="float")
    assert len(answer.data[0].embedding) == 384


@calls.works("embeddings.create with tokens of the model's own")
def token_embeddings() -> None:
    """[CLS] hello world [SEP]."""
    tokens = client.embeddings.create(model=EMBEDDER, input=[101, 7592, 2088, 102])
    text = client.embeddings.create(model=EMBEDDER, input="hello world")
    pairs = zip(tokens.data[0].embedding, text.data[0].embedding, strict=True)
    assert all(abs(one - other) < 1e-5 for one, other in pairs)


@calls.fails(
    "embeddings.create(dimensions=256)",
    error="dimensions",
    why="MiniLM's vectors cannot be shortened: 400; 384 is accepted",
)
def short_embeddings() -> None:
    client.embeddings.create(model=EMBEDDER, input="a text", dimensions=256)


@calls.works("models.list, models.retrieve")
def models() -> None:
    assert {"auto", EMBEDDER} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("auto").id == "auto"


@calls.works("files.create, list, content, delete")
def files() -> None:
    sent = client.files.create(file=("a.txt", b"The lake is deep."), purpose="user_data")
    assert sent.id in [one.id for one in client.files.list()]
    assert client.files.content(sent.id).content == b"The lake is deep."
    assert client.files.delete(sent.id).deleted


@calls.works("vector_stores.create, files.create_and_poll, search, delete")
def vector_stores() -> None:
    sent = client.files.create(file=("a.txt", b"The lake is 93 m deep."), purpose="user_data")
    store = client.vector_stores.create(name="compat")
    done = client.vector_stores.files.create_and_poll(
        sent.id, vector_store_id=store.id, poll_interval_ms=200
    )
    assert done.status == "completed"
    found = client.vector_stores.search(store.id, query="How deep is the lake?")
    assert found.data[0].file_id == sent.id
    assert client.vector_stores.delete(store.id).deleted


@calls.works("errors: NotFoundError, BadRequestError, also of too long an input")
def errors() -> None:
    wrong: list[tuple[type[openai.APIStatusError], Any]] = [
        (openai.NotFoundError, {"model": "gpt-9"}),
        (openai.BadRequestError, {"n": 0}),
        (openai.BadRequestError, {"messages": [{"role": "user", "content": "w " * 5000}]}),
    ]
    for kind, change in wrong:
        try:
            client.chat.completions.create(**{**CHAT, **change})
        except kind:
            continue
        raise AssertionError(change)


@calls.works("moderations.create")
def moderation() -> None:
    (result,) = client.moderations.create(input="How do I reset my password?").results
    assert not result.flagged


ELSEWHERE: dict[str, Try] = {
    "audio.speech.create": lambda: client.audio.speech.create(input="a", model="m", voice="ash"),
    "batches.list": client.batches.list,
    "fine_tuning.jobs.list": client.fine_tuning.jobs.list,
    "images.generate": lambda: client.images.generate(prompt="a lake"),
}
for name, attempt in ELSEWHERE.items():
    calls.fails(name, error="Error code: 404", why="there is no such route: 404")(attempt)


if __name__ == "__main__":
    calls.run()
