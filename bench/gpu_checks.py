"""The measurements of `bench/gpu.sh`: first bare engines, then the same through running services.

`python -m bench.gpu_checks bare` prints JSON; `compare` reads it and prints the tables.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.table import Table
from models.catalog import load_catalog
from models.store import Store
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta, TokenEvent
from tests.support.quantized import quantize
from tiffin.context import Deadline, RequestContext
from tiffin.ops.serving import TierSettings
from tiffin.ops.settings import load_settings
from tiffin.transport.clients import EmbeddingClient, LLMClient

PARALLEL = 16
ANSWER_TOKENS = 256
TEXTS = 4096
PLAN_ERROR = 0.10
DECODE_RATIO = 0.98
LIMIT_S = 300.0

_TAKES = re.compile(r"(\w+): takes ([\d.]+) GB of GPU (\S+), planned were ([\d.]+) GB")


def requests() -> list[GenerateRequest]:
    """As many questions as are answered at once; none starts like another."""
    return [
        GenerateRequest(
            messages=[ChatMessage("user", f"{number}. Write a long story about a king.")],
            max_tokens=ANSWER_TOKENS,
        )
        for number in range(PARALLEL)
    ]


def texts() -> list[str]:
    """Texts of about a hundred tokens."""
    return [f"Passage {number} tells of ships and of the sea. " * 10 for number in range(TEXTS)]


async def tokens_per_second(streams: Sequence[AsyncGenerator[TokenEvent, None]]) -> float:
    """Completion tokens of all streams by the time that they take together."""

    async def count(stream: AsyncGenerator[TokenEvent, None]) -> int:
        events = [event async for event in stream]
        last = events[-1]
        if not isinstance(last, Finished):
            message = "a stream ended without its last event"
            raise TypeError(message)
        return last.usage.completion_tokens

    began = time.perf_counter()
    counts = await asyncio.gather(*(count(stream) for stream in streams))
    return sum(counts) / (time.perf_counter() - began)


def _large() -> TierSettings:
    return load_settings().tiers["large"]


async def bare_decode() -> float:
    """VLLM's own `generate`, with the same arguments and the same prompts."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from models.engines.vllm import VLLMEngine

    tier = _large()
    folder = Store(load_settings().home).path(load_catalog().get(tier.model))
    engine = VLLMEngine(folder, context_tokens=tier.context_tokens, parallel=tier.parallel)
    await engine.start()
    llm: Any = engine._llm  # noqa: SLF001  the bare engine is what this measures
    sampling = SamplingParams(
        max_tokens=ANSWER_TOKENS, temperature=0.0, output_kind=RequestOutputKind.DELTA
    )

    async def one(number: int, request: GenerateRequest) -> int:
        ids = engine._tokenize(request.messages)  # noqa: SLF001
        found = 0
        async for output in llm.generate({"prompt_token_ids": ids}, sampling, f"bare-{number}"):
            found += len(output.outputs[0].token_ids)
        return found

    async def rate(offset: int) -> float:
        began = time.perf_counter()
        asked = enumerate(requests(), start=offset)
        counts = await asyncio.gather(*(one(number, request) for number, request in asked))
        return sum(counts) / (time.perf_counter() - began)

    rates = [await rate(1000 * turn) for turn in range(4)]
    await engine.close()
    return max(rates[1:])


async def fp8_answers() -> bool:
    """Whether the small model, rounded to FP8, loads and still knows a capital."""
    from models.engines.vllm import VLLMEngine

    tier = load_settings().tiers["small"]
    folder = Store(load_settings().home).path(load_catalog().get(tier.model))
    with tempfile.TemporaryDirectory() as work:
        rounded = quantize(folder, Path(work) / "fp8", "fp8")
        engine = VLLMEngine(rounded, context_tokens=512, parallel=2)
        await engine.start()
        question = ChatMessage("user", "What is the capital of Japan?")
        request = GenerateRequest(messages=[question], max_tokens=32, temperature=0.0)
        events = [event async for event in engine.generate(request)]
        await engine.close()
    return "Tokyo" in "".join(event.text for event in events if isinstance(event, TextDelta))


def bare_embed() -> float:
    """Texts a second of sentence-transformers alone, in the type that our engine uses."""
    import torch
    from sentence_transformers import SentenceTransformer

    settings = load_settings()
    folder = Store(settings.home).path(load_catalog().get(settings.embedding.model))
    model = SentenceTransformer(str(folder), device="cuda", model_kwargs={"dtype": torch.float16})
    model.encode(texts()[:256], normalize_embeddings=True)
    began = time.perf_counter()
    model.encode(texts(), normalize_embeddings=True, batch_size=128)
    return TEXTS / (time.perf_counter() - began)


def service_urls(supervisor: int) -> dict[str, str]:
    """Where BentoML put each service, as its workers are told."""
    for process in psutil.Process(supervisor).children():
        if runners := process.environ().get("BENTOML_RUNNER_MAP"):
            urls: dict[str, str] = json.loads(runners)
            return urls
    message = "no worker of the server knows the services' addresses"
    raise SystemExit(message)


async def tiffin_decode(url: str) -> float:
    """The same questions through the service's door and the transport."""
    client = LLMClient("LargeLLM", url)
    rates = []
    for _ in range(4):
        context = RequestContext(Deadline.after(LIMIT_S))
        streams = [client.generate(request, context) for request in requests()]
        rates.append(await tokens_per_second(streams))
    await client.close()
    return max(rates[1:])


async def tiffin_embed(url: str) -> float:
    """The same texts through the service, in calls of 64 by 16 callers."""
    client = EmbeddingClient("Embedding", url)
    batches = [texts()[start : start + 64] for start in range(0, TEXTS, 64)]
    turns = asyncio.Semaphore(PARALLEL)

    async def call(batch: list[str]) -> None:
        async with turns:
            await client.embed(batch, RequestContext(Deadline.after(LIMIT_S)))

    await call(batches[0])
    began = time.perf_counter()
    await asyncio.gather(*map(call, batches))
    rate = TEXTS / (time.perf_counter() - began)
    await client.close()
    return rate


def memory(log: str) -> tuple[Table, bool]:
    """What each engine took of its GPU, as it measured itself, beside its plan."""
    rows, good = [], True
    for service, took, gpu, planned in _TAKES.findall(log):
        error = float(took) / float(planned) - 1
        good = good and abs(error) < PLAN_ERROR
        rows.append([service, gpu, f"{planned} GB", f"{took} GB", f"{error:+.1%}"])
    header = ["service", "GPU", "planned", "measured", "error"]
    return Table("Memory: the plan beside the driver", header, rows), good and bool(rows)


def compare(arguments: argparse.Namespace) -> bool:
    """Print both tables; say whether every figure was reached."""
    bare = json.loads(arguments.bare.read_text().splitlines()[-1])  # libraries print too
    urls = service_urls(arguments.supervisor)
    table, good = memory(arguments.log.read_text())
    print(table)  # noqa: T201
    decode = asyncio.run(tiffin_decode(urls["LargeLLM"]))
    embed = asyncio.run(tiffin_embed(urls["Embedding"]))
    rows = [
        [
            "decode, tokens/s",
            f"{bare['decode']:.0f}",
            f"{decode:.0f}",
            f"{decode / bare['decode']:.2f}",
        ],
        ["embed, texts/s", f"{bare['embed']:.0f}", f"{embed:.0f}", f"{embed / bare['embed']:.2f}"],
    ]
    print(Table("Throughput", ["what", "bare", "through Tiffin", "ratio"], rows))  # noqa: T201
    fp8 = "answers" if bare["fp8"] else "**does not answer as it should**"
    print(f"\nThe small tier's model in FP8 {fp8}.")  # noqa: T201
    return good and bare["fp8"] and decode >= DECODE_RATIO * bare["decode"]


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("bare")
    comparing = commands.add_parser("compare")
    comparing.add_argument("--supervisor", type=int, required=True)
    comparing.add_argument("--log", type=Path, required=True)
    comparing.add_argument("--bare", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "bare":
        measured = {
            "fp8": asyncio.run(fp8_answers()),
            "embed": bare_embed(),
            "decode": asyncio.run(bare_decode()),
        }
        print(json.dumps(measured))  # noqa: T201
    elif not compare(arguments):
        sys.exit(1)


if __name__ == "__main__":
    main()
