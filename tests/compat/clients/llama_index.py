"""LlamaIndex: OpenAILike, its embeddings and its rerankers."""

import asyncio
from typing import Any

import openai
import pydantic
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as TeiRerank

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

calls = Calls("llama-index-llms-openai-like")
plain = Calls("llama-index-llms-openai")
embedding = Calls("llama-index-embeddings-openai-like")
openai_embedding = Calls("llama-index-embeddings-openai")
tei_embedding = Calls("llama-index-embeddings-text-embeddings-inference")
cohere_rerank = Calls("llama-index-postprocessor-cohere-rerank")
tei_rerank = Calls("llama-index-postprocessor-tei-rerank")
retrieving = Calls("llama-index-core")

TURNS = [ChatMessage(role="user", content=QUESTION)]


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def llm(**fields: Any) -> OpenAILike:
    fields = {"is_chat_model": True, "temperature": 0, "max_tokens": 60, **fields}
    return OpenAILike(model="auto", api_base=V1, api_key=KEY, max_retries=0, **fields)


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=passage), score=0.5) for passage in PASSAGES]


@calls.works("OpenAILike(is_chat_model=True).chat, stream_chat")
def chat() -> None:
    assert "Tokyo" in (llm().chat(TURNS).message.content or "")
    assert "Tokyo" in "".join(piece.delta or "" for piece in llm().stream_chat(TURNS))


@calls.works("OpenAILike.achat, astream_chat")
async def async_chat() -> None:
    stream = await llm().astream_chat(TURNS)
    text = "".join([piece.delta or "" async for piece in stream])
    assert text == (await llm().achat(TURNS)).message.content


@calls.works("OpenAILike(is_chat_model=False).complete, stream_complete")
def complete() -> None:
    model = llm(is_chat_model=False, max_tokens=16)
    assert "Tokyo" in model.complete("The capital of Japan is").text
    assert list(model.stream_complete("The capital of Japan is"))


@calls.works("OpenAILike(is_function_calling_model=True).chat_with_tools")
def tools() -> None:
    model = llm(is_function_calling_model=True)
    answer = model.chat_with_tools(
        [FunctionTool.from_defaults(weather)], "How is the weather in Paris?", tool_required=True
    )
    (call,) = model.get_tool_calls_from_response(answer)
    assert call.tool_name == "weather"


@calls.works("OpenAILike(is_function_calling_model=True).structured_predict(Model)")
def structured_by_a_function() -> None:
    model = llm(is_function_calling_model=True)
    assert isinstance(model.structured_predict(City, PromptTemplate(QUESTION)), City)


@calls.works("OpenAILike(should_use_structured_outputs=True).structured_predict(Model)")
def structured() -> None:
    model = llm(should_use_structured_outputs=True)
    assert isinstance(model.structured_predict(City, PromptTemplate(QUESTION)), City)


@plain.fails(
    'OpenAI(model="auto").chat, OpenAIResponses(model="auto").chat',
    error="Unknown model",
    why="these classes know the names of OpenAI's models only, and ask nobody; use `OpenAILike`",
)
def openai_chat() -> None:
    try:
        OpenAI(model="auto", api_base=V1, api_key=KEY).chat(TURNS)
    except ValueError:
        OpenAIResponses(model="auto", api_base=V1, api_key=KEY).chat(TURNS)


@embedding.works("OpenAILikeEmbedding: query, texts, async")
def embeddings() -> None:
    _embeds(OpenAILikeEmbedding(model_name=EMBEDDER, api_base=V1, api_key=KEY, max_retries=0))


@openai_embedding.works("OpenAIEmbedding(model_name=...): query, texts, async")
def embeddings_of_openai() -> None:
    _embeds(OpenAIEmbedding(model_name=EMBEDDER, api_base=V1, api_key=KEY, max_retries=0))


@tei_embedding.works("TextEmbeddingsInference: query, texts, async")
def embeddings_of_tei() -> None:
    _embeds(TextEmbeddingsInference(model_name=EMBEDDER, base_url=URL))


def _embeds(model: Any) -> None:
    assert len(model.get_query_embedding(LAKE)) == 384
    assert [len(row) for row in model.get_text_embedding_batch(PASSAGES)] == [384] * 3
    assert len(asyncio.run(model.aget_text_embedding(LAKE))) == 384


@cohere_rerank.works("CohereRerank(base_url).postprocess_nodes")
def rerank() -> None:
    _reranks(CohereRerank(model=RERANKER, base_url=URL, api_key=KEY, top_n=2))


@tei_rerank.works("TextEmbeddingInference(base_url).postprocess_nodes")
def rerank_of_tei() -> None:
    _reranks(TeiRerank(base_url=URL, top_n=2))


def _reranks(model: Any) -> None:
    best = model.postprocess_nodes(nodes(), query_str=LAKE)
    assert [best[0].text, len(best)] == [PASSAGES[DEEPEST], 2]


class CorpusRetriever(BaseRetriever):  # type: ignore[misc]
    """The passages of a corpus that answer best; docs/corpora.md shows it."""

    def __init__(self, client: openai.OpenAI, corpus: str, top_k: int = 4) -> None:
        self._client, self._corpus, self._top_k = client, corpus, top_k
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._client.vector_stores.search(
            self._corpus, query=query_bundle.query_str, max_num_results=self._top_k
        )
        return [
            NodeWithScore(
                node=TextNode(
                    text="\n".join(part.text for part in hit.content),
                    metadata={"file": hit.filename, **(hit.attributes or {})},
                ),
                score=hit.score,
            )
            for hit in found
        ]


@retrieving.works("a BaseRetriever on /v1/vector_stores/{id}/search")
def retriever() -> None:
    with corpus() as store:
        client = openai.OpenAI(base_url=V1, api_key=KEY)
        found = CorpusRetriever(client, store, top_k=2).retrieve(LAKE)
    assert found[0].text == PASSAGES[DEEPEST]
    assert found[0].metadata["file"] == f"{DEEPEST}.txt"


if __name__ == "__main__":
    for each in (calls, plain, embedding, openai_embedding, tei_embedding):
        each.run()
    cohere_rerank.run()
    tei_rerank.run()
    retrieving.run()
