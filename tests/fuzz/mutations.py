"""Requests as no client means to send them: valid ones, broken byte by byte. Seeded."""

import json
import random
import socket
from collections.abc import Iterator

_RERANK = {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}
_RAG = {"query": "q", "documents": ["d"], "stream": True}
_CHAT = [{"role": "user", "content": "a text that is long enough to be hit now and then"}]
_SCHEMA = {"name": "a", "schema": {"enum": ["a"], "minimum": 1}}
BODIES: dict[str, dict[str, object]] = {
    "/v1/embeddings": {"model": "all-minilm-l6-v2", "input": ["a", "b"]},
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK,
    "/rerank": {"query": "q", "texts": ["a"], "raw_scores": True},
    "/embed": {"inputs": [[1, 2], [3]]},
    "/": {"inputs": "a"},
    "/score": {"text_1": "a", "text_2": ["b"]},
    "/rag_query": _RAG,
    "/v1/rag": {**_RAG, "stream": False},
    "/v1/models/x": {},
    "/v1/chat/completions": {"model": "auto", "messages": _CHAT, "stream": True},
    "/v1/chat/completions?schema": {
        "model": "auto",
        "messages": _CHAT,
        "max_tokens": 1,
        "stop": ["a"],
        "response_format": {"type": "json_schema", "json_schema": _SCHEMA},
    },
    "/v1/completions": {"model": "small", "prompt": ["a"], "max_tokens": 3},
    "/v1/responses": {"model": "auto", "input": "a"},
}
TYPES = ("application/json", "application/json", "application/json", "text/plain", "x/pickle", "")
METHODS = ("POST", "POST", "POST", "POST", "POST", "GET", "PUT", "X")
TIMEOUTS_MS = ("2000", "2000", "2000", "2000", "-1", "x", "9" * 30, "9" * 5000)
ODD = (
    *(b"\x00", b"\xff\xfe", b"\r\n\r\n", b"{", b"[" * 200, b'"'),
    *(b"\\ud800", b"\xed\xa0\x80", b"1e999", b"NaN", b"9" * 30, b"9" * 5000),
)
MATCHES = 0.8
"""Share of bodies that are meant for the route they are sent to."""

PATIENCE_S = 1.0
ANSWER_LIMIT_S = 15.0


def requests(seed: int) -> Iterator[bytes]:
    """Raw requests without end."""
    chance = random.Random(seed)  # noqa: S311  a test's choices
    while True:
        path = chance.choice(list(BODIES))
        meant = path if chance.random() < MATCHES else chance.choice(list(BODIES))
        body = _mutated(json.dumps(BODIES[meant]).encode(), chance, 0.5)
        length = len(body) if chance.random() < 0.9 else chance.choice((0, 1, 10**12, -1))
        head = (
            f"{chance.choice(METHODS)} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n"
            f"content-type: {chance.choice(TYPES)}\r\n"
            f"x-request-timeout-ms: {chance.choice(TIMEOUTS_MS)}\r\n"
            f"content-length: {length}\r\n\r\n"
        ).encode()
        yield _mutated(head, chance, 0.2) + body


def exchange(port: int, request: bytes) -> int | None:
    """Send and read to the end: the status, or None for no answer.

    A server may wait for the rest of a broken request; it is then told that none will come.
    Raises TimeoutError when it neither answers nor hangs up.
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answer = b""
        try:
            connection.sendall(request)
            connection.settimeout(PATIENCE_S)
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(ANSWER_LIMIT_S)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # it may hang up on what is no HTTP
    status = answer.split(b" ", 2)[1:2]
    return int(status[0]) if status else None


def _mutated(data: bytes, chance: random.Random, rate: float) -> bytes:
    while chance.random() < rate:
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((0, 1, 5)))
        filler = chance.choice((*ODD, chance.randbytes(chance.randrange(8))))
        data = data[:at] + filler + data[to:]
    return data
