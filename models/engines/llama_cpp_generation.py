"""One generation of llama.cpp: a blocking call on a worker thread, read from the event loop.

`models.engines.llama_cpp` makes one for each request.
"""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from models.errors import EngineFailed, ModelError, NotSupported
from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenLogprob, TokenUsage

WAKE_EVERY_S = 1 / 30
"""The shortest time between two wake-ups of the event loop by a generation. A token that follows
sooner waits for the next ones, which no reader notices. Each wake-up, here and in everything that
reads the stream, takes time from llama.cpp's threads, which fill the cores and wait for each other.
"""


class Server(Protocol):
    """The part of `xllamacpp.Server` that we use."""

    def handle_chat_completions(
        self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        """Block until the generation ends or the callback, called per chunk, returns True."""

    def handle_completions(
        self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        """The same for a raw prompt."""


class Generation:
    """One generation: written by a worker thread, read from `events` on the event loop."""

    def __init__(self, body: dict[str, Any], top_logprobs: int) -> None:
        self.events: asyncio.Queue[TokenEvent | ModelError] = asyncio.Queue()
        self._body = body
        self._raw = "prompt" in body
        self._top_logprobs = top_logprobs
        self._logprobs: list[TokenLogprob] = []
        self._loop = asyncio.get_running_loop()
        self._aborted = threading.Event()
        self._finish_reason = ""
        self._ended = False
        self._kept: list[TokenEvent | ModelError] = []
        self._keep_until = 0.0

    def abort(self) -> None:
        """Stop at the next step. A generation that still waits for a worker does not start."""
        self._aborted.set()

    def run(self, server: Server) -> None:
        """Generate; whatever happens, the last event is `Finished` or a `ModelError`."""
        try:
            if not self._aborted.is_set():
                handle = server.handle_completions if self._raw else server.handle_chat_completions
                handle(self._body, self._on_chunk)
        except (RuntimeError, ValueError) as error:
            self._end(self._refused(str(error)))
        if not self._ended:
            self._end(EngineFailed("llama.cpp was stopped before it finished"))

    def _on_chunk(self, chunk: dict[str, Any]) -> bool:
        if error := chunk.get("error"):
            bad_input = error.get("code") == http.client.BAD_REQUEST
            message = str(error["message"])
            self._end(self._refused(message) if bad_input else _failed(message))
        for choice in chunk.get("choices", ()):
            self._keep_logprobs(choice)
            if text := choice["text"] if self._raw else choice["delta"].get("content"):
                self._emit(TextDelta(text, self._logprobs))
                self._logprobs = []
            self._finish_reason = choice["finish_reason"] or self._finish_reason
        if usage := chunk.get("usage"):
            reason: FinishReason = "length" if self._finish_reason == "length" else "stop"
            self._end(Finished(reason, _token_usage(usage)))
        return self._aborted.is_set()

    def _refused(self, message: str) -> ModelError:
        """The error for a field that llama.cpp refuses, if it can only be that one."""
        if "grammar" in self._body:
            return NotSupported("json_schema", message)
        if "Prompt contains invalid tokens" in message:
            return NotSupported("prompt", "it holds tokens that are not in the vocabulary")
        return _failed(message)

    def _keep_logprobs(self, choice: dict[str, Any]) -> None:
        """The log probabilities of the next text.

        If a character takes several tokens, llama.cpp returns the last one's only.
        """
        found = (choice.get("logprobs") or {}).get("content") or ()
        self._logprobs += [_token_logprob(token, self._top_logprobs) for token in found]

    def _end(self, event: TokenEvent | ModelError) -> None:
        self._ended = True
        self._emit(event)

    def _emit(self, event: TokenEvent | ModelError) -> None:
        self._kept.append(event)
        now = time.monotonic()
        if now < self._keep_until and not self._ended:
            return
        kept, self._kept, self._keep_until = self._kept, [], now + WAKE_EVERY_S
        if self._loop.is_closed():
            self._aborted.set()
        else:
            self._loop.call_soon_threadsafe(self._take, kept)

    def _take(self, events: list[TokenEvent | ModelError]) -> None:
        for event in events:
            self.events.put_nowait(event)


def _failed(message: str) -> EngineFailed:
    return EngineFailed(f"llama.cpp failed: {message}")


def _token_logprob(token: dict[str, Any], top: int) -> TokenLogprob:
    others = [_token_logprob(other, 0) for other in token.get("top_logprobs", ())[:top]]
    return TokenLogprob(token["token"], token["logprob"], token["bytes"], others)


def _token_usage(usage: dict[str, Any]) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
    )
