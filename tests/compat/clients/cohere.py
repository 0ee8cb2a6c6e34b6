"""Cohere's own Python client, for reranking."""

import cohere

from tests.compat.calls import DEEPEST, EMBEDDER, KEY, LAKE, PASSAGES, RERANKER, URL, Calls

calls = Calls("cohere")


@calls.works("Client.rerank(return_documents=True)")
def first() -> None:
    answer = cohere.Client(KEY, base_url=URL).rerank(
        model=RERANKER, query=LAKE, documents=PASSAGES, return_documents=True
    )
    assert answer.results[0].index == DEEPEST
    assert answer.results[0].document is not None


@calls.works("ClientV2.rerank(top_n)")
def second() -> None:
    answer = cohere.ClientV2(KEY, base_url=URL).rerank(
        model=RERANKER, query=LAKE, documents=PASSAGES, top_n=2
    )
    assert [answer.results[0].index, len(answer.results)] == [DEEPEST, 2]


@calls.works("AsyncClientV2.rerank")
async def asynchronous() -> None:
    async with cohere.AsyncClientV2(KEY, base_url=URL) as client:
        answer = await client.rerank(model=RERANKER, query=LAKE, documents=PASSAGES)
    assert answer.results[0].index == DEEPEST


@calls.works("errors: NotFoundError for a model that is not served")
def unknown() -> None:
    try:
        cohere.ClientV2(KEY, base_url=URL).rerank(model="rerank-v9", query="q", documents=["d"])
    except cohere.NotFoundError:
        return
    raise AssertionError("it was served")


@calls.fails(
    "ClientV2.rerank(max_tokens_per_doc=100)",
    error="max_tokens_per_doc",
    why="the reranker reads 512 tokens of query and document, and cannot be told to read fewer:"
    " 400; 512 and more are accepted",
)
def shortened() -> None:
    cohere.ClientV2(KEY, base_url=URL).rerank(
        model=RERANKER, query=LAKE, documents=PASSAGES, max_tokens_per_doc=100
    )


@calls.fails(
    "ClientV2.chat",
    error="status_code: 404",
    why="only `rerank` is served in Cohere's shape: 404; chat by an OpenAI client",
)
def chat() -> None:
    turn = cohere.UserChatMessageV2(content=LAKE)
    cohere.ClientV2(KEY, base_url=URL).chat(model="auto", messages=[turn])


@calls.fails(
    "ClientV2.embed",
    error="status_code: 404",
    why="only `rerank` is served in Cohere's shape: 404; embed by an OpenAI client",
)
def embed() -> None:
    cohere.ClientV2(KEY, base_url=URL).embed(
        model=EMBEDDER, input_type="search_query", texts=["a text"]
    )


if __name__ == "__main__":
    calls.run()
