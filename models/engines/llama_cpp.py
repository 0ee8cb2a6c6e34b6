"""llama.cpp, in process, for GGUF weights: the LLM engine of machines without a GPU.

xllamacpp's `Server` is llama.cpp's own server as an object. A generation is a blocking call on a
worker thread that hands its events to the event loop; stopping one takes effect at llama.cpp's
next step. Importing this module loads llama.cpp: only the LLM services do, when they start.

A failed assertion in llama.cpp ends the process, and with it the service: its supervisor restarts
it.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xllamacpp

from models.engines.calls import read_calls
from models.engines.constrained import held
from models.engines.grammar import Grammar
from models.engines.limits import answer_tokens
from models.engines.llama_cpp_door import PrivateDoor
from models.engines.llama_cpp_generation import Generation, Server
from models.engines.mapped import let_go
from models.engines.markers import Markers, markers_of_gguf
from models.engines.tools import plain, turns
from models.errors import EngineFailed, ModelError, NotSupported
from models.values import (
    ChatMessage,
    EngineHealth,
    Finished,
    GenerateRequest,
    TokenEvent,
    Tool,
)

STEP_TOKENS = 64
"""Prompt tokens per step. A running prefill may outlive its caller and hold up the other streams by
one step: 0.2 s for SmolLM2-135M on 2 cores, where llama.cpp's default of 2048 means 8 s. Prefill is
about 5 % slower than with the best size (128 to 512)."""

KV_BLOCK_TOKENS = 256
"""llama.cpp rounds a context to multiples of this."""

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
        self._server: Server | None = None
        self._end_token: int | None = None
        self._markers = Markers()
        self._door = PrivateDoor()
        self._workers = ThreadPoolExecutor(parallel, thread_name_prefix="llama.cpp")
        self._generations: set[Generation] = set()
        self._grammars: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the weights and answer one token, so that the first request finds a warm engine.

        Grammars are made ready afterwards: a second for a vocabulary of 150,000 tokens, in which
        other requests wait, but no longer than if the engine were not ready yet.
        """
        self._server = await asyncio.to_thread(self._load)
        self._markers = await asyncio.to_thread(markers_of_gguf, self._model_file)
        self._end_token = await asyncio.to_thread(self._door.end_token)
        await self._warm_up(None)
        self._grammars = asyncio.get_running_loop().create_task(self._warm_up({}))

    async def _warm_up(self, json_schema: dict[str, Any] | None) -> None:
        hello = [ChatMessage("user", "Hello")]
        request = GenerateRequest(messages=hello, max_tokens=1, json_schema=json_schema)
        async for _ in self.generate(request):
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
        generation = Generation(body, request.logprobs or 0)
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
        if self._grammars is not None:
            self._grammars.cancel()
            await asyncio.gather(self._grammars, return_exceptions=True)
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

    def _running_server(self) -> Server:
        if self._server is None:
            raise EngineFailed("llama.cpp is not running")
        return self._server

    def _load(self) -> Server:
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
        # Fitting layers to the memory of GPUs would load everything twice, and `start` warms up.
        params.fit_params = params.warmup = False
        self._door.guard(params)
        try:
            server: Server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"llama.cpp cannot load {self._model_file.name}: {error}") from error
        let_go(self._model_file)
        return server


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
        "ignore_eos": request.ignore_eos,
        "stream": True,
        "stream_options": {"include_usage": True},
        # Asks for a chunk after every step of the prefill, because only there can it be stopped.
        "return_progress": True,
    }
    if request.logprobs is not None:
        body["n_probs"] = max(request.logprobs, 1)  # 0 turns them off
    return body


def _round_up(number: int, block: int) -> int:
    return -(-number // block) * block
