"""Haystack: OpenAI's generators and embedders, Cohere's ranker, and a pipeline of them."""

from typing import Any

import openai
from haystack import Document, Pipeline, component
from haystack.components.builders import ChatPromptBuilder
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import Tool
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker

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
from tests.compat.corpus import corpus

calls = Calls("haystack-ai")
ranking = Calls("cohere-haystack")

TOKEN = Secret.from_token(KEY)
OPENAI: Any = {"api_key": TOKEN, "api_base_url": V1, "max_retries": 0}
GREEDY = {"temperature": 0, "max_tokens": 60}
TURNS = [ChatMessage.from_user(QUESTION)]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}


def generator(**fields: Any) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(model="auto", generation_kwargs=GREEDY, **OPENAI, **fields)


@calls.works("OpenAIChatGenerator.run, run_async")
async def chat() -> None:
    answer = generator().run(TURNS)["replies"][0]
    assert "Tokyo" in (answer.text or "")
    assert (await generator().run_async(TURNS))["replies"][0].text == answer.text


@calls.works("OpenAIChatGenerator(streaming_callback)")
def stream() -> None:
    pieces: list[str] = []
    model = generator(streaming_callback=lambda chunk: pieces.append(chunk.content))
    text = model.run(TURNS)["replies"][0].text
    assert len(pieces) > 3
    assert "".join(pieces) == text


@calls.works("OpenAIChatGenerator(tools)")
def tools() -> None:
    tool = Tool("weather", "The weather in a city.", CITY, lambda city: f"sunny in {city}")
    fields = {"generation_kwargs": {"tool_choice": "required"}}
    turns = [ChatMessage.from_user("How is the weather in Paris?")]
    answer = generator(tools=[tool]).run(turns, **fields)["replies"][0]
    assert answer.tool_calls[0].tool_name == "weather"
    turns += [answer, ChatMessage.from_tool("sunny", origin=answer.tool_calls[0])]
    assert generator(tools=[tool]).run(turns)["replies"]


@calls.works("OpenAIChatGenerator(response_format)")
def structured() -> None:
    schema = {"name": "city", "schema": CITY, "strict": True}
    wanted = {"response_format": {"type": "json_schema", "json_schema": schema}}
    answer = generator().run(TURNS, generation_kwargs=wanted)["replies"][0]
    assert '"city"' in (answer.text or "")


@calls.works("OpenAIResponsesChatGenerator.run")
def responses() -> None:
    fields = {"temperature": 0, "max_output_tokens": 40}
    model = OpenAIResponsesChatGenerator(model="auto", generation_kwargs=fields, **OPENAI)
    assert "Tokyo" in (model.run(TURNS)["replies"][0].text or "")


@calls.works("OpenAITextEmbedder, OpenAIDocumentEmbedder")
def embeddings() -> None:
    assert len(OpenAITextEmbedder(model=EMBEDDER, **OPENAI).run(LAKE)["embedding"]) == 384
    documents = OpenAIDocumentEmbedder(model=EMBEDDER, progress_bar=False, **OPENAI).run(
        _documents()
    )["documents"]
    assert [len(document.embedding) for document in documents] == [384] * 3


@calls.works("Pipeline: embed, retrieve, rerank, prompt, generate")
def pipeline() -> None:
    store = InMemoryDocumentStore()
    embedder = OpenAIDocumentEmbedder(model=EMBEDDER, progress_bar=False, **OPENAI)
    store.write_documents(embedder.run(_documents())["documents"])
    template = "{% for document in documents %}{{ document.content }}\n{% endfor %}\n{{ question }}"
    pipe = Pipeline()
    pipe.add_component("embedder", OpenAITextEmbedder(model=EMBEDDER, **OPENAI))
    pipe.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=3))
    pipe.add_component("ranker", _ranker(top_k=1))  # all that a model this small reads reliably
    prompt = ChatPromptBuilder([ChatMessage.from_user(template)], required_variables="*")
    pipe.add_component("prompt", prompt)
    pipe.add_component("llm", generator())
    pipe.connect("embedder.embedding", "retriever.query_embedding")
    pipe.connect("retriever.documents", "ranker.documents")
    pipe.connect("ranker.documents", "prompt.documents")
    pipe.connect("prompt.prompt", "llm.messages")
    asked = {
        "embedder": {"text": LAKE},
        "ranker": {"query": LAKE},
        "prompt": {"question": LAKE},
    }
    assert "1,642" in (pipe.run(asked)["llm"]["replies"][0].text or "")


@component
class CorpusRetriever:
    """The passages of a corpus that answer best; docs/corpora.md shows it."""

    def __init__(self, client: openai.OpenAI, corpus: str, top_k: int = 4) -> None:
        self.client, self.corpus, self.top_k = client, corpus, top_k

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, query: str) -> dict[str, list[Document]]:
        """Search, and give the documents on."""
        found = self.client.vector_stores.search(
            self.corpus, query=query, max_num_results=self.top_k
        )
        documents = [
            Document(
                content="\n".join(part.text for part in hit.content),
                meta={"file": hit.filename, **(hit.attributes or {})},
                score=hit.score,
            )
            for hit in found
        ]
        return {"documents": documents}


@calls.works("Pipeline with a retriever on /v1/vector_stores/{id}/search")
def retriever() -> None:
    pipe = Pipeline()
    with corpus() as store:
        client = openai.OpenAI(base_url=V1, api_key=KEY)
        pipe.add_component("retriever", CorpusRetriever(client, store, top_k=2))
        found = pipe.run({"retriever": {"query": LAKE}})["retriever"]["documents"]
    assert found[0].content == PASSAGES[DEEPEST]
    assert found[0].meta["file"] == f"{DEEPEST}.txt"


@ranking.works("CohereRanker.run")
def rank() -> None:
    best = _ranker(top_k=2).run(query=LAKE, documents=_documents())["documents"]
    assert [best[0].content, len(best)] == [PASSAGES[DEEPEST], 2]


def _ranker(top_k: int) -> CohereRanker:
    return CohereRanker(model=RERANKER, api_key=TOKEN, api_base_url=URL, top_k=top_k)


def _documents() -> list[Document]:
    return [Document(content=passage) for passage in PASSAGES]


if __name__ == "__main__":
    calls.run()
    ranking.run()
