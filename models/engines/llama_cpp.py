"""llama.cpp, in process, for GGUF weights: the LLM engine of machines without a GPU.

xllamacpp's `Server` is llama.cpp's own server as an object. A generation is a blocking call on a
worker thread that hands its events to the event loop; stopping one takes effect at llama.cpp's
next step. Importing this module loads llama.cpp: only the LLM services do, when they start.

A failed assertion in llama.cpp ends the process, and with it the service: its supervisor restarts
it.
"""

import asyncio
import http.client
import json
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import xllamacpp

from models.engines.calls import read_calls
from models.engines.constrained import held
from models.engines.grammar import Grammar
from models.engines.limits import answer_tokens
from models.engines.markers import Markers, markers_of_gguf
from models.engines.tools import plain, turns
from models.errors import EngineFailed, ModelError, NotSupported
from models.values import (
    ChatMessage,
    EngineHealth,
    Finished,
    FinishReason,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
    Tool,
)

STEP_TOKENS = 64
"""Prompt tokens per step. A running prefill may outlive its caller and hold up the other streams by
one step: 0.2 s for SmolLM2-135M on 2 cores, where llama.cpp's default of 2048 means 8 s. Prefill is
about 5 % slower than with the best size (128 to 512)."""

KV_BLOCK_TOKENS = 256
"""llama.cpp rounds a context to multiples of this."""

WAKE_EVERY_S = 1 / 30
"""The shortest time between two wake-ups of the event loop by a generation. A token that follows
sooner waits for the next ones, which no reader notices. Each wake-up, here and in everything that
reads the stream, takes time from llama.cpp's threads, which fill the cores and wait for each other.
"""

QUIET = -1
"""A log level that hides llama.cpp's errors, which we get as exceptions and error chunks."""


class LlamaCppEngine:
    """An LLM in a GGUF file; implements `models.engines.protocol.LLMEngine`.

    `context_tokens` is the limit of each request, `parallel` is how many run at once (others wait
    in order), and `threads` is the number of CPU cores to use: see `models.engines.cores`. The KV
    cache of `context_tokens * parallel` tokens is allocated at start.
    """

    def __init__(
        self, model_file: Path, *, context_tokens: int, parallel: int, threads: int
    ) -> None:
        self.context_tokens = context_tokens
        self._model_file = model_file
        self._parallel = parallel
        self._threads = threads
        self._server: _Server | None = None
        self._end_token: int | None = None
        self._markers = Markers()
        self._door = _PrivateDoor()
        self._workers = ThreadPoolExecutor(parallel, thread_name_prefix="llama.cpp")
        self._generations: set[_Generation] = set()

    async def start(self) -> None:
        """Load the weights and answer one token, so that the first request finds a warm engine."""
        self._server = await asyncio.to_thread(self._load)
        self._markers = await asyncio.to_thread(markers_of_gguf, self._model_file)
        self._end_token = await asyncio.to_thread(self._door.end_token)
        hello = GenerateRequest(
            messages=[ChatMessage("user", "Hello")], max_tokens=1, json_schema={}
        )
        async for _ in self.generate(hello):
            pass

    def generate(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        """Yield the answer's `TextDelta`s, then one `Finished`. Closing it stops the generation."""
        return read_calls(held(self._generate, request, self._markers.guard), request)

    async def _generate(
        self, request: GenerateRequest, grammar: Grammar | None
    ) -> AsyncGenerator[TokenEvent, None]:
        """The answer to a request without tools."""
        body = await self._body(request)
        if grammar is not None:
            body["grammar"] = grammar.text(self._end_token)
        generation = _Generation(body, request.logprobs or 0)
        self._generations.add(generation)
        try:
            self._workers.submit(generation.run, self._running_server())
            while True:
                event = await generation.events.get()
                if isinstance(event, ModelError):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            generation.abort()
            self._generations.discard(generation)

    async def count_tokens(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()
    ) -> int:
        """Tokens of the prompt that these messages become under the model's chat template."""
        request = GenerateRequest(messages=list(messages), tools=list(tools))
        _, length = await self._read(plain(request, self._markers.guard).messages)
        return length

    async def health(self) -> EngineHealth:
        """Answer at once, without touching the weights."""
        detail = "" if self._server else "not started, or closed"
        return EngineHealth(
            ready=self._server is not None, running=len(self._generations), detail=detail
        )

    async def close(self) -> None:
        """Abort running generations and free the weights. Idempotent."""
        self._server = None
        for generation in self._generations:
            generation.abort()
        # The last worker to end drops the last reference to the server. Its destructor frees the
        # weights and must not run while a callback still waits for the interpreter.
        await asyncio.to_thread(self._workers.shutdown)
        self._door.close()

    async def _body(self, request: GenerateRequest) -> dict[str, Any]:
        """The request for llama.cpp. A raw prompt is sent as the tokens that we counted.

        Raises InputTooLong or AnswerTooLong if prompt and answer do not fit the context.
        """
        prompt = request.prompt
        if prompt is None:
            body, length = await self._read(request.messages)
        else:
            self._running_server()
            if request.json_schema is not None:
                raise NotSupported("json_schema", "llama.cpp checks it for messages only")
            if isinstance(prompt, str):
                prompt = await asyncio.to_thread(self._door.tokenize, prompt)
            body, length = {"prompt": prompt}, len(prompt)
        answer = answer_tokens(request.max_tokens, length, self.context_tokens)
        # The penalties look at all tokens, not at the last 64.
        look_back = self.context_tokens
        return {**body, "max_tokens": answer, "repeat_last_n": look_back, **_sampling(request)}

    async def _read(self, messages: Sequence[ChatMessage]) -> tuple[dict[str, Any], int]:
        """Guarded messages for llama.cpp, and how many tokens they are.

        It would read names of control tokens in their text, so then it gets the tokens instead.
        """
        self._running_server()
        if not any(self._markers.guarded(message.content) for message in messages):
            length = await asyncio.to_thread(self._door.count_tokens, messages)
            return {"messages": turns(messages)}, length
        rendered = await asyncio.to_thread(self._door.render, messages)
        ids = await asyncio.to_thread(self._markers.ids, rendered, self._door.tokenize)
        return {"prompt": ids}, len(ids)

    def _running_server(self) -> "_Server":
        if self._server is None:
            raise EngineFailed("llama.cpp is not running")
        return self._server

    def _load(self) -> "_Server":
        params = xllamacpp.CommonParams()
        params.model.path = str(self._model_file)
        params.verbosity = QUIET
        params.n_parallel = self._parallel
        params.n_ctx = self._parallel * _round_up(self.context_tokens, KV_BLOCK_TOKENS)
        params.n_batch = params.n_ubatch = STEP_TOKENS
        # An answer after an assistant's turn is a new turn, as everywhere else.
        params.prefill_assistant = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        # Each slot keeps its last prompt in the KV cache; no further copies in RAM (8 GiB).
        params.cache_ram_mib = 0
        self._door.guard(params)
        try:
            server: _Server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"llama.cpp cannot load {self._model_file.name}: {error}") from error
        return server


class _Server(Protocol):
    """The part of `xllamacpp.Server` that we use."""

    def handle_chat_completions(
        self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        """Block until the generation ends or the callback, called per chunk, returns True."""

    def handle_completions(
        self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        """The same for a raw prompt."""


class _Generation:
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

    def run(self, server: _Server) -> None:
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


class _PrivateDoor:
    """llama.cpp's HTTP listener, which cannot be switched off, and the routes of it that we use.

    It binds a unix socket in a folder that only this user may enter, instead of an open port on
    loopback, and answers only to a random key. It counts tokens, for which xllamacpp has no call,
    in about 1 ms, even if every slot is busy.
    """

    def __init__(self) -> None:
        self._key = secrets.token_urlsafe()
        self._folder = tempfile.TemporaryDirectory(prefix="llama-")

    def guard(self, params: Any) -> None:  # noqa: ANN401 (a C++ struct without a Python type)
        """Set the address, the key and the closed endpoints in llama.cpp's parameters."""
        params.hostnames = [str(self._socket)]
        params.api_keys = [self._key]
        params.n_threads_http = 2
        params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Ask llama.cpp for the length of the prompt under the chat template."""
        body = {"messages": turns(messages)}
        return int(self._ask("/v1/chat/completions/input_tokens", body)["input_tokens"])

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Ask llama.cpp for the prompt under the chat template."""
        prompt: str = self._ask("/apply-template", {"messages": turns(messages)})["prompt"]
        return prompt

    def tokenize(self, text: str, *, whole: bool = True) -> list[int]:
        """Ask llama.cpp for the tokens of a raw prompt, or of a part from the middle of one."""
        body = {"content": text, "add_special": whole, "parse_special": True}
        tokens: list[int] = self._ask("/tokenize", body)["tokens"]
        return tokens

    def end_token(self) -> int | None:
        """The token that the chat template puts after a turn, if any.

        llguidance accepts only one of several tokens that end an answer, and not always this one.
        """
        answer = ChatMessage("assistant", "answer")
        prompt = self.render([ChatMessage("user", "question"), answer])
        behind = prompt.rpartition(answer.content)[2].lstrip()
        return self.tokenize(behind, whole=False)[0] if behind else None

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = _UnixConnection(self._socket)
        headers = {"Authorization": f"Bearer {self._key}", "Connection": "close"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise EngineFailed("llama.cpp does not answer") from error
        finally:
            connection.close()
        if "error" in answer:
            raise EngineFailed(f"llama.cpp cannot read the prompt: {answer['error']['message']}")
        return answer

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        self._folder.cleanup()

    @property
    def _socket(self) -> Path:
        return Path(self._folder.name) / "llama.sock"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _sampling(request: GenerateRequest) -> dict[str, Any]:
    body = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        # llama.cpp's own defaults would truncate the distribution further than requested.
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "stop": request.stop,
        "seed": -1 if request.seed is None else request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        # Asks for a chunk after every step of the prefill, because only there can it be stopped.
        "return_progress": True,
    }
    if request.logprobs is not None:
        body["n_probs"] = max(request.logprobs, 1)  # 0 turns them off
    return body


def _token_usage(usage: dict[str, Any]) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
    )


def _round_up(number: int, block: int) -> int:
    return -(-number // block) * block
