"""BentoML's own clients, for the whole question."""

import json
from typing import Any

import bentoml

from tests.compat.calls import LAKE, PASSAGES, URL, Calls

calls = Calls("bentoml")

ASKED: Any = {"query": LAKE, "documents": PASSAGES, "timeout_ms": 30_000}


@calls.works("SyncHTTPClient.rag_query")
def asked() -> None:
    with bentoml.SyncHTTPClient(URL) as client:
        answer = client.rag_query(**ASKED)
    assert "1,642" in answer["answer"]
    assert answer["citations"]


@calls.works("SyncHTTPClient.rag_stream")
def streamed() -> None:
    with bentoml.SyncHTTPClient(URL) as client:
        text = "".join(client.rag_stream(**ASKED))
    frames = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    assert json.loads(frames[-2])["object"] == "rag.answer"


@calls.works("AsyncHTTPClient.rag_query, rag_stream")
async def asynchronous() -> None:
    async with bentoml.AsyncHTTPClient(URL) as client:
        answer = await client.rag_query(**ASKED)
        pieces = [piece async for piece in client.rag_stream(**ASKED)]
    assert answer["citations"]
    assert "[DONE]" in "".join(pieces)


if __name__ == "__main__":
    calls.run()
