"""LangChain: ChatOpenAI, OpenAIEmbeddings, CohereRerank."""

import asyncio
from typing import Any

import openai
import pydantic
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

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

calls = Calls("langchain-openai")
reranking = Calls("langchain-cohere")
retrieving = Calls("langchain-core")


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


@tool  # type: ignore[untyped-decorator]
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def llm(**fields: Any) -> ChatOpenAI:
    fields = {"temperature": 0, "max_tokens": 40, **fields}
    return ChatOpenAI(model="auto", base_url=V1, api_key=KEY, max_retries=0, **fields)


@calls.works("ChatOpenAI.invoke")
def invoke() -> None:
    answer = llm().invoke([("system", "Answer in one sentence."), ("human", QUESTION)])
    assert "Tokyo" in answer.content
    assert answer.usage_metadata["output_tokens"] > 0


@calls.works("ChatOpenAI.stream, its usage at the end")
def stream() -> None:
    chunks = list(llm(stream_usage=True).stream(QUESTION))
    assert "Tokyo" in "".join(chunk.content for chunk in chunks)
    assert sum((chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks) > 0


@calls.works("ChatOpenAI.ainvoke, astream, abatch")
async def asynchronous() -> None:
    model = llm()
    pieces = [chunk.content async for chunk in model.astream(QUESTION)]
    assert "".join(pieces) == (await model.ainvoke(QUESTION)).content
    assert len(await model.abatch([QUESTION, LAKE])) == 2


@calls.works("prompt | ChatOpenAI | StrOutputParser")
def chain() -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "What is the capital of {country}?")])
    assert "Tokyo" in (prompt | llm() | StrOutputParser()).invoke({"country": "Japan"})


@calls.works("ChatOpenAI.with_structured_output(Model)")
def structured() -> None:
    assert isinstance(llm(max_tokens=60).with_structured_output(City).invoke(QUESTION), City)


@calls.works('ChatOpenAI.with_structured_output(Model, method="function_calling")')
def structured_by_a_function() -> None:
    model = llm(max_tokens=60).with_structured_output(City, method="function_calling")
    assert isinstance(model.invoke(QUESTION), City)


@calls.works('ChatOpenAI.with_structured_output(schema, method="json_mode")')
def structured_as_json() -> None:
    model = llm(max_tokens=None, timeout=60).with_structured_output(method="json_mode", schema=None)
    asked = 'Answer with JSON: {"capital": "Paris"} for France. And for Japan?'
    assert isinstance(model.invoke(asked), dict)


@calls.works("ChatOpenAI.bind_tools, a ToolMessage sent back")
def tools() -> None:
    turns: list[Any] = [HumanMessage("How is the weather in Paris?")]
    model = llm(max_tokens=60)
    answer = model.bind_tools([weather], tool_choice="any").invoke(turns)
    (call,) = answer.tool_calls
    assert call["name"] == "weather"
    turns += [answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
    assert model.bind_tools([weather]).invoke(turns) is not None


@calls.works("ChatOpenAI.bind(logprobs=True)")
def logprobs() -> None:
    assert llm().bind(logprobs=True).invoke(QUESTION).response_metadata["logprobs"]["content"]


@calls.works("ChatOpenAI(use_responses_api=True).invoke, stream")
def responses() -> None:
    model = llm(use_responses_api=True)
    assert "Tokyo" in model.invoke(QUESTION).text
    assert "Tokyo" in "".join(chunk.text for chunk in model.stream(QUESTION))


@calls.works("OpenAI.invoke")
def completion() -> None:
    model = OpenAI(model="auto", base_url=V1, api_key=KEY, temperature=0, max_tokens=16)
    assert "Tokyo" in model.invoke("The capital of Japan is")


@calls.works("OpenAIEmbeddings(check_embedding_ctx_length=False), also aembed_documents")
def embeddings() -> None:
    model = OpenAIEmbeddings(
        model=EMBEDDER, base_url=V1, api_key=KEY, check_embedding_ctx_length=False
    )
    assert [len(row) for row in model.embed_documents(PASSAGES)] == [384] * 3
    assert len(model.embed_query(LAKE)) == 384
    assert len(asyncio.run(model.aembed_documents(PASSAGES))) == 3


class _OpenAIVocabulary:
    """Stands in for tiktoken, which downloads OpenAI's vocabulary: the ids of one text in it."""

    def encode_ordinary(self, _: str) -> list[int]:
        return [791, 6864, 315, 6457]  # "The capital of Japan"

    def encode(self, text: str, **_: Any) -> list[int]:
        return self.encode_ordinary(text)


@calls.fails(
    "OpenAIEmbeddings as it is",
    error="tokens of this model begin with 101",
    why="it sends tokens of OpenAI's vocabulary, which mean other words here: 400; say"
    " `check_embedding_ctx_length=False`, as for every model that is not OpenAI's",
)
def embeddings_of_tokens() -> None:
    import tiktoken

    tiktoken.encoding_for_model = tiktoken.get_encoding = lambda *_: _OpenAIVocabulary()
    OpenAIEmbeddings(model=EMBEDDER, base_url=V1, api_key=KEY).embed_query("The capital of Japan")


@reranking.works("CohereRerank.compress_documents")
def rerank() -> None:
    model = CohereRerank(model=RERANKER, base_url=URL, cohere_api_key=KEY, top_n=2)
    documents = [Document(passage) for passage in PASSAGES]
    best = model.compress_documents(documents, LAKE)
    assert [best[0].page_content, len(best)] == [PASSAGES[DEEPEST], 2]


class CorpusRetriever(BaseRetriever):  # type: ignore[misc]
    """The passages of a corpus that answer best; docs/corpora.md shows it."""

    client: openai.OpenAI
    corpus: str
    top_k: int = 4

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        found = self.client.vector_stores.search(
            self.corpus, query=query, max_num_results=self.top_k
        )
        return [
            Document(
                "\n".join(part.text for part in hit.content),
                metadata={"file": hit.filename, "score": hit.score, **(hit.attributes or {})},
            )
            for hit in found
        ]


@retrieving.works("a BaseRetriever on /v1/vector_stores/{id}/search")
def retriever() -> None:
    with corpus() as store:
        client = openai.OpenAI(base_url=V1, api_key=KEY)
        found = CorpusRetriever(client=client, corpus=store, top_k=2).invoke(LAKE)
    assert found[0].page_content == PASSAGES[DEEPEST]
    assert found[0].metadata["file"] == f"{DEEPEST}.txt"


if __name__ == "__main__":
    calls.run()
    reranking.run()
    retrieving.run()
