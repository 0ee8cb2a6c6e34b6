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

import numpy as np
import psutil

from bench.table import Table
from models.engines.sentence_transformers import CrossEncoderScorer, Embedder
from models.engines.tokens import Device
from models.engines.vllm import VLLMEngine
from models.engines.vllm_options import VLLMOptions
from models.errors import PlacementError
from models.placement.hardware import GB, Gpu, detect_gpus, free_bytes
from models.store import Store
from models.user_catalog import catalog_of
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta, TokenEvent
from tests.support.quantized import quantize
from tiffin.clients import EmbeddingClient, LLMClient
from tiffin.config.serving import TierSettings
from tiffin.config.settings import load_settings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline

PARALLEL = 16
ANSWER_TOKENS = 256
TEXTS = 4096
PLAN_ERROR = 0.10
DECODE_RATIO = 0.98
LIMIT_S = 300.0
CAPITAL = "Tokyo"
COSINE, LOGIT = 1e-3, 0.1
"""How far half precision may be from single: its ranking is then the same but for near ties."""

_TAKES = re.compile(r"(\w+): takes ([\d.]+) GB of GPU \S+, planned were ([\d.]+) GB")


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

    tier = _large()
    engine = VLLMEngine(
        _folder(tier.model), context_tokens=tier.context_tokens, parallel=tier.parallel
    )
    await engine.start()
    llm: Any = engine._llm  # noqa: SLF001  the bare engine is what this measures
    sampling = SamplingParams(
        max_tokens=ANSWER_TOKENS, temperature=0.0, output_kind=RequestOutputKind.DELTA
    )

    async def one(number: int, request: GenerateRequest) -> int:
        ids = engine._prompt(request)  # noqa: SLF001
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
    with tempfile.TemporaryDirectory() as work:
        rounded = quantize(_folder(load_settings().tiers["small"].model), Path(work) / "fp8", "fp8")
        engine = VLLMEngine(rounded, context_tokens=512, parallel=2)
        await engine.start()
        text = await _capital(engine)
        await engine.close()
    return CAPITAL in text


async def sleeps() -> dict[str, Any]:
    """What the small tier frees of its GPU when it sleeps, and how it wakes."""
    (gpu, *_), tier = detect_gpus(), load_settings().tiers["small"]
    before = _free_gb(gpu)
    engine = VLLMEngine(
        _folder(tier.model),
        context_tokens=tier.context_tokens,
        parallel=tier.parallel,
        options=VLLMOptions(can_sleep=True),
    )
    await engine.start()
    answer, awake = await _capital(engine), _free_gb(gpu)
    await engine.sleep()
    asleep, began = _free_gb(gpu), time.perf_counter()
    await engine.wake()
    woken_s = time.perf_counter() - began
    same = await _capital(engine) == answer
    await engine.close()
    return {
        "awake_gb": before - awake,
        "asleep_gb": before - asleep,
        "wake_s": woken_s,
        "good": same and CAPITAL in answer and asleep > awake,
    }


async def _capital(engine: VLLMEngine) -> str:
    question = ChatMessage("user", "What is the capital of Japan?")
    request = GenerateRequest(messages=[question], max_tokens=32, temperature=0.0)
    events = [event async for event in engine.generate(request)]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def _folder(model: str) -> Path:
    home = load_settings().home
    return Store(home).path(catalog_of(home).get(model))


def _free_gb(gpu: Gpu) -> float:
    free = free_bytes(gpu)
    if free is None:
        message = f"nothing tells how much of GPU {gpu.device} is free"
        raise PlacementError(message)
    return free / GB


def encoders_differ() -> dict[str, float]:
    """How far half precision on the GPU is from single precision on the CPU, at most."""
    settings, some = load_settings(), texts()[:64]
    pairs = [("Which passage tells of the sea?", text) for text in some]
    vectors, logits = [], []
    devices: tuple[Device, ...] = ("cpu", "cuda")
    for device in devices:
        embedder = Embedder(_folder(settings.embedding.model), device=device, threads=1)
        vectors.append(embedder.run(embedder.tokenize(some)))
        scorer = CrossEncoderScorer(_folder(settings.reranker.model), device=device, threads=1)
        logits.append(scorer.run(scorer.tokenize(pairs)))
    return {
        "cosine": float(1 - np.sum(vectors[0] * vectors[1], axis=1).min()),
        "logit": float(np.abs(logits[0] - logits[1]).max()),
    }


def bare_embed() -> float:
    """Texts a second of sentence-transformers alone, in the type that our engine uses."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = _folder(load_settings().embedding.model)
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


def memory(log: str, under_load_gb: float) -> tuple[Table, bool]:
    """What each engine took of the GPU when it had loaded, and what all take under load.

    An engine has not computed its largest batch when it has loaded, and holds less than its plan;
    more it must not take. All together, under load, are to be near the plan.
    """
    started = [(service, float(took), float(plan)) for service, took, plan in _TAKES.findall(log)]
    total = sum(plan for _, _, plan in started)
    rows = [*started, ("all, under load", under_load_gb, total)]
    good = (
        bool(started)
        and all(took < plan * (1 + PLAN_ERROR) for _, took, plan in started)
        and abs(under_load_gb - total) < total * PLAN_ERROR
    )
    cells = [
        [name, f"{plan:.2f} GB", f"{took:.2f} GB", f"{took / plan - 1:+.1%}" if plan else ""]
        for name, took, plan in rows
    ]
    header = ["service", "planned", "measured", "error"]
    return Table("Memory: the plan beside the driver", header, cells), good


def compare(arguments: argparse.Namespace) -> bool:
    """Print both tables; say whether every figure was reached."""
    bare = json.loads(arguments.bare.read_text().splitlines()[-1])  # libraries print too
    urls = service_urls(arguments.supervisor)
    decode = asyncio.run(tiffin_decode(urls["LargeLLM"]))
    embed = asyncio.run(tiffin_embed(urls["Embedding"]))
    (gpu, *_) = detect_gpus()
    table, good = memory(arguments.log.read_text(), bare["free_gb"] - _free_gb(gpu))
    print(table)  # noqa: T201
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
    nap = bare["sleeps"]
    print(  # noqa: T201
        f"Asleep it takes {nap['asleep_gb']:.2f} GB instead of {nap['awake_gb']:.2f}, wakes in"
        f" {nap['wake_s']:.2f} s and {'answers the same' if nap['good'] else '**fails**'}."
    )
    differ = bare["differ"]
    print(  # noqa: T201
        f"In half precision vectors differ by a cosine of {differ['cosine']:.1e} from those of a"
        f" CPU, scores by {differ['logit']:.1e}, at most."
    )
    agree = differ["cosine"] < COSINE and differ["logit"] < LOGIT
    as_planned = good and bare["fp8"] and nap["good"] and agree
    return as_planned and decode >= DECODE_RATIO * bare["decode"]


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
            "free_gb": _free_gb(detect_gpus()[0]),
            "fp8": asyncio.run(fp8_answers()),
            "sleeps": asyncio.run(sleeps()),
            "differ": encoders_differ(),
            "embed": bare_embed(),
            "decode": asyncio.run(bare_decode()),
        }
        print(json.dumps(measured))  # noqa: T201
    elif not compare(arguments):
        sys.exit(1)


if __name__ == "__main__":
    main()
