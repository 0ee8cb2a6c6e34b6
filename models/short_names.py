"""Short names in the manner of Ollama, such as `qwen3:8b`, and what they stand for on the hub.

`models.added` asks when a user adds one. A name is `FAMILY[:SIZE[-instruct][-QUANTIZATION]]`;
without a size it is the first of its family, without a quantization Q4_K_M.
"""

import re
from difflib import get_close_matches
from typing import NamedTuple

from models.errors import WeightsError

BARTOWSKI = "bartowski/{}-GGUF"
"""Publishes nearly every chat model in one file for each quantization."""


class _Family(NamedTuple):
    repository: str
    """With {} for what stands for a size in the hub's name."""
    sizes: dict[str, str]
    quantization: str | None = "Q4_K_M"


def _of(*sizes: str) -> dict[str, str]:
    """Sizes that the hub writes with a capital letter."""
    return {size: size.upper() for size in sizes}


FAMILIES = {
    "qwen3": _Family(
        "Qwen/Qwen3-{}-GGUF",
        _of("8b", "4b", "14b", "32b") | {"30b": "30B-A3B", "30b-a3b": "30B-A3B"},
    ),
    "qwen2.5": _Family(
        BARTOWSKI.format("Qwen2.5-{}-Instruct"),
        _of("7b", "0.5b", "1.5b", "3b", "14b", "32b", "72b"),
    ),
    "qwen2.5-coder": _Family(
        BARTOWSKI.format("Qwen2.5-Coder-{}-Instruct"), _of("7b", "0.5b", "1.5b", "3b", "14b", "32b")
    ),
    "llama3": _Family(BARTOWSKI.format("Meta-Llama-3-{}-Instruct"), _of("8b", "70b")),
    "llama3.1": _Family(BARTOWSKI.format("Meta-Llama-3.1-{}-Instruct"), _of("8b", "70b")),
    "llama3.2": _Family(BARTOWSKI.format("Llama-3.2-{}-Instruct"), _of("3b", "1b")),
    "llama3.3": _Family(BARTOWSKI.format("Llama-3.3-{}-Instruct"), _of("70b")),
    "mistral": _Family(BARTOWSKI.format("Mistral-{}-Instruct-v0.3"), _of("7b")),
    "mistral-nemo": _Family(BARTOWSKI.format("Mistral-Nemo-Instruct-2407"), {"12b": ""}),
    "mistral-small": _Family(BARTOWSKI.format("Mistral-Small-{}-Instruct-2501"), _of("24b")),
    "gemma2": _Family(BARTOWSKI.format("gemma-2-{}-it"), {s: s for s in ("9b", "2b", "27b")}),
    "gemma3": _Family(
        BARTOWSKI.format("google_gemma-3-{}-it"), {s: s for s in ("4b", "1b", "12b", "27b")}
    ),
    "phi3.5": _Family(BARTOWSKI.format("Phi-3.5-mini-instruct"), {"3.8b": ""}),
    "phi4": _Family(BARTOWSKI.format("phi-4"), {"14b": ""}),
    "deepseek-r1": _Family(
        BARTOWSKI.format("DeepSeek-R1-Distill-{}"),
        {
            "7b": "Qwen-7B",
            "1.5b": "Qwen-1.5B",
            "8b": "Llama-8B",
            "14b": "Qwen-14B",
            "32b": "Qwen-32B",
            "70b": "Llama-70B",
        },
    ),
    "smollm2": _Family(BARTOWSKI.format("SmolLM2-{}-Instruct"), _of("1.7b", "360m", "135m")),
    "all-minilm": _Family(
        "sentence-transformers/all-MiniLM-{}-v2", {"l6": "L6", "l12": "L12"}, None
    ),
    "bge-m3": _Family("BAAI/bge-m3", {"567m": ""}, None),
    "mxbai-embed-large": _Family("mixedbread-ai/mxbai-embed-large-v1", {"335m": ""}, None),
}
"""The first size is the one that a name without a size means."""

_NAME = re.compile(
    r"(?P<family>[a-z0-9.-]+)(?::(?P<size>latest|[a-z0-9.]+(?:-a\d+b)?)(?:-(?:instruct|it|chat))?"
    r"(?:-(?P<quantization>q\d\w*|f16))?)?",
    re.IGNORECASE,
)


def hub_name(short: str) -> str:
    """`ORG/NAME[:QUANTIZATION]` for a short name. Raises WeightsError, which names the nearest."""
    matched = _NAME.fullmatch(short)
    family = FAMILIES.get(matched["family"].lower()) if matched else None
    if matched is None or family is None:
        raise _unknown(short)
    size = (matched["size"] or "latest").lower()
    sizes = {"latest": next(iter(family.sizes.values())), **family.sizes}
    if size not in sizes:
        raise _unknown(short)
    quantization = (matched["quantization"] or family.quantization or "").upper()
    repository = family.repository.format(sizes[size])
    return f"{repository}:{quantization}" if quantization else repository


def _unknown(short: str) -> WeightsError:
    known = [f"{name}:{size}" for name, family in FAMILIES.items() for size in family.sizes]
    near = get_close_matches(short.lower(), known, 3, 0.5)
    hint = f", nor a short name, of which the nearest are {', '.join(near)}" if near else ""
    return WeightsError(f"{short!r} is neither a path nor ORG/NAME of the model hub{hint}")
