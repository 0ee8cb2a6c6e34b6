"""Tries the calls of a client and prints one verdict a line, as JSON.

Used by every script of `tests.compat.clients`, in the client's environment: standard library only.
"""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

URL = os.environ["TIFFIN_URL"]
V1 = f"{URL}/v1"
KEY = "none"
EMBEDDER, RERANKER = "all-minilm-l6-v2", "ms-marco-minilm-l-12-v2"

QUESTION = "What is the capital of Japan?"
LAKE = "How deep is Lake Baikal?"
PASSAGES = [
    "The Danube is 2,850 km long and flows through ten countries.",
    "Lake Baikal in Siberia is 1,642 metres deep, deeper than any other lake.",
    "Mount Kilimanjaro in Tanzania rises 5,895 metres above sea level.",
]
DEEPEST = 1
"""The passage that answers `LAKE`."""

Try = Callable[[], Any]
"""A call, perhaps async; what it gives is not looked at."""


class _Call(NamedTuple):
    name: str
    attempt: Try
    error: str
    why: str


class Calls:
    """The calls of one client. Each is a function that raises when the client is not served."""

    def __init__(self, client: str, version: str | None = None) -> None:
        self._client = client
        self._version = version or metadata.version(client)
        self._calls: list[_Call] = []

    def works(self, name: str) -> Callable[[Try], Try]:
        """Say that the call below does what its documentation says."""
        return self._added(name, "", "")

    def fails(self, name: str, *, error: str, why: str) -> Callable[[Try], Try]:
        """Say that the call below raises an error with these words in it, and why that is."""
        return self._added(name, error, why)

    def _added(self, name: str, error: str, why: str) -> Callable[[Try], Try]:
        def keep(attempt: Try) -> Try:
            self._calls.append(_Call(name, attempt, error, why))
            return attempt

        return keep

    def run(self) -> None:
        """Try all, in order; names given in `argv` choose some."""
        for call in self._calls:
            if not sys.argv[1:] or call.name in sys.argv[1:]:
                raised = _raised(call.attempt)
                verdict = {
                    "client": self._client,
                    "version": self._version,
                    "call": call.name,
                    "works": not call.why,
                    "why": call.why,
                    "surprise": _surprise(call, raised),
                }
                print(json.dumps(verdict), flush=True)


def _raised(attempt: Try) -> str | None:
    """What was raised, in words."""
    try:
        result = attempt()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exception as error:  # noqa: BLE001  every client has its own
        return f"{type(error).__name__}: {error}"
    return None


def _surprise(call: _Call, raised: str | None) -> str:
    """What differs from what was said, or nothing."""
    if not call.why:
        return raised or ""
    if raised is None:
        return "it works now"
    return "" if call.error in raised else raised
