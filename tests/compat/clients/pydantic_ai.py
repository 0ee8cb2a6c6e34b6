"""Pydantic AI, over OpenAI's chat completions and responses."""

from typing import Any

import pydantic
from pydantic_ai import Agent, Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.compat.calls import EMBEDDER, KEY, QUESTION, V1, Calls

calls = Calls("pydantic-ai-slim")
BRIEF: Any = {"temperature": 0, "max_tokens": 60}


class City(pydantic.BaseModel):
    """What the structured answers are made of."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


def agent(kind: Any = OpenAIChatModel, **more: Any) -> Any:
    model = kind("auto", provider=OpenAIProvider(base_url=V1, api_key=KEY))
    return Agent(model, model_settings=BRIEF, **more)


for kind in (OpenAIChatModel, OpenAIResponsesModel):
    name = kind.__name__

    @calls.works(f"{name}: Agent.run, run_stream")
    async def run(kind: Any = kind) -> None:
        answer = await agent(kind).run(QUESTION)
        assert "Tokyo" in answer.output
        async with agent(kind).run_stream(QUESTION) as stream:
            assert "Tokyo" in await stream.get_output()

    @calls.works(f"{name}: Agent(output_type=Model), also with the turns before")
    async def structured(kind: Any = kind) -> None:
        asked = agent(kind, output_type=City)  # its schema is a tool that must be called
        first = await asked.run(QUESTION)
        assert isinstance(first.output, City)
        second = await asked.run("And of Italy?", message_history=first.all_messages())
        assert isinstance(second.output, City)


@calls.works("OpenAIEmbeddingModel: Embedder.embed_query, embed_documents")
async def embeddings() -> None:
    provider = OpenAIProvider(base_url=V1, api_key=KEY)
    embedder = Embedder(OpenAIEmbeddingModel(EMBEDDER, provider=provider))
    assert len((await embedder.embed_query("a text")).embeddings[0]) == 384
    assert len((await embedder.embed_documents(["a", "b"])).embeddings) == 2


calls.run()
