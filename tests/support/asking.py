"""A question about the corpus, with time enough for a busy machine; for the end-to-end tests."""

from typing import Any

import httpx

BAIKAL = "How deep is Lake Baikal?"
PATIENT_MS = 60_000
"""A deadline for tests that ask a model, because a busy machine misses the default one."""


def ask(url: str, corpus: dict[str, Any], query: str = BAIKAL, **fields: Any) -> dict[str, Any]:
    """The whole answer. Raises AssertionError for any other status than 200."""
    body = {"query": query, "documents": corpus["passages"], "timeout_ms": PATIENT_MS, **fields}
    response = httpx.post(f"{url}/rag_query", json=body, timeout=90)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
