"""curl, for routes whose users mostly write their requests by hand: TEI, Jina, vLLM."""

import json
import subprocess
from functools import partial
from typing import Any

from tests.compat.calls import DEEPEST, EMBEDDER, LAKE, PASSAGES, QUESTION, RERANKER, URL, Calls

found = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True)  # noqa: S607
calls = Calls("curl", found.stdout.split()[1])


def curl(path: str, body: Any = None, *options: str) -> str:
    data = [] if body is None else ["-H", "content-type: application/json", "-d", json.dumps(body)]
    command = ["curl", "-sS", "--fail-with-body", *options, *data, URL + path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done.stdout


@calls.works("TEI: POST /embed")
def embed() -> None:
    assert [len(row) for row in json.loads(curl("/embed", {"inputs": ["a", "b"]}))] == [384, 384]


@calls.works("TEI: POST /rerank with texts")
def tei_rerank() -> None:
    body = {"query": LAKE, "texts": PASSAGES, "return_text": True}
    assert json.loads(curl("/rerank", body))[0]["index"] == DEEPEST


@calls.works("Jina: POST /v1/rerank")
def jina_rerank() -> None:
    body = {"model": RERANKER, "query": LAKE, "documents": PASSAGES, "top_n": 1}
    (result,) = json.loads(curl("/v1/rerank", body))["results"]
    assert result["index"] == DEEPEST


@calls.works("vLLM: POST /score")
def score() -> None:
    scores = json.loads(curl("/score", {"text_1": LAKE, "text_2": PASSAGES}))["data"]
    assert max(scores, key=lambda one: float(one["score"]))["index"] == DEEPEST


@calls.works("OpenAI: GET /v1/models, POST /v1/embeddings")
def models() -> None:
    assert "auto" in [model["id"] for model in json.loads(curl("/v1/models"))["data"]]
    body = {"model": EMBEDDER, "input": "a text"}
    assert len(json.loads(curl("/v1/embeddings", body))["data"][0]["embedding"]) == 384


@calls.works("OpenAI: POST /v1/chat/completions, also -N with stream")
def chat() -> None:
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "auto", "messages": messages, "max_tokens": 24, "temperature": 0}
    answer = json.loads(curl("/v1/chat/completions", body))
    assert "Tokyo" in answer["choices"][0]["message"]["content"]
    assert curl("/v1/chat/completions", {**body, "stream": True}, "-N").endswith("data: [DONE]\n\n")


@calls.works("POST /rag_query")
def rag() -> None:
    body = {"query": LAKE, "documents": PASSAGES, "timeout_ms": 30_000}
    assert json.loads(curl("/rag_query", body))["citations"]


for path in ("/info", "/predict", "/tokenize", "/embed_all", "/embed_sparse"):
    body = None if path == "/info" else {"inputs": "a text"}
    refused = calls.fails(f"TEI: {path}", error="error: 404", why="there is no such route: 404")
    refused(partial(curl, path, body))


if __name__ == "__main__":
    calls.run()
