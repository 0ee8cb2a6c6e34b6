"""Describes a model that a user adds: a GGUF file, a folder of safetensors, or a hub's repository.

`tiffin models add` calls it. Everything that a catalogue entry says is read from the files: their
digests, sizes, architecture, number format, licence. A repository comes through the hub's own
client, and without a network from that client's cache.
"""

import fnmatch
import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.catalog import HubSource, LocalSource, Model, WeightFile
from models.errors import WeightsError
from models.files import sha256_of
from models.gguf import Gguf, read_gguf
from models.short_names import hub_name

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "README.md")
UNWANTED = ("onnx/*", "openvino/*", "original/*", "*.index.json.bak")
SLOTS_TOKENS = 2 * 4096
"""What the catalogue's `memory_bytes` of llama.cpp counts with."""

LLAMA_SHARE, LLAMA_BYTES = 1.3, 50_000_000
"""What llama.cpp takes for weights, relative to their file, without the KV cache: within 16 % of
what was measured for the catalogue's three models."""

_FILE_TYPES = {2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 15: "Q4_K_M", 17: "Q5_K_M", 18: "Q6_K", 1: "F16"}
"""llama.cpp's `general.file_type`, as far as `models.architecture` has sizes for them."""

_REPOSITORY = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?(?::(?P<tag>\w+))?"
)


def describe(what: str, name: str | None = None) -> Model:
    """The entry for a path, a short name, or `ORG/NAME[@REVISION][:QUANTIZATION]` of the hub.

    Raises WeightsError if there is no such thing, or no engine runs it.
    """
    path = Path(what).expanduser()
    if path.suffix == ".gguf" or path.is_dir():
        if not path.exists():
            raise WeightsError(f"{path} does not exist")
        path = path.resolve()
        folder = path if path.is_dir() else path.parent
        source: LocalSource | HubSource = LocalSource(kind="local", path=str(folder))
        return _entry(path, source, name or path.stem if path.is_file() else name or path.name)
    if "/" not in what:
        name, what = name or what, hub_name(what)
    matched = _REPOSITORY.fullmatch(what)
    if matched is None:
        raise WeightsError(f"{what!r} is neither a path nor ORG/NAME of the model hub")
    repo, tag = matched["repo"], matched["tag"]
    folder = _snapshot(repo, matched["revision"], tag)
    path = _gguf_in(folder, tag) if tag or not (folder / "config.json").is_file() else folder
    source = HubSource(kind="hub", repo=repo, revision=folder.name)
    return _entry(path, source, name or repo.rpartition("/")[2] + (f"-{tag}" if tag else ""))


def _snapshot(repo: str, revision: str | None, tag: str | None) -> Path:
    """The repository's files in the cache of the hub's client, fetched if there is a network."""
    from huggingface_hub import snapshot_download

    wanted = [f"*{tag}*.gguf", f"*{tag.lower()}*.gguf", "README.md"] if tag else [*WANTED]
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=wanted,
            ignore_patterns=[*UNWANTED],
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except Exception as error:  # the client lets its HTTP library's errors through
        raise WeightsError(f"{repo}: {' '.join(str(error).split())[:300]}") from error
    return Path(folder)


def _gguf_in(folder: Path, tag: str | None) -> Path:
    found = [file for file in folder.rglob("*.gguf") if (tag or "").lower() in file.name.lower()]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(file.name for file in found)) or "none"
    raise WeightsError(f"name one GGUF file as ORG/NAME:QUANTIZATION; those there are: {names}")


def _entry(path: Path, source: LocalSource | HubSource, name: str) -> Model:
    described = _of_gguf(path) if path.is_file() else _of_folder(path)
    root = path.parent if path.is_file() else path
    if path.is_file() and isinstance(source, HubSource):
        root = next(parent for parent in path.parents if parent.name == source.revision)
    fields = {
        "name": re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-."),
        "licence": _licence(root) or "unknown",
        "files": [_file(file, root) for file in _files(path)],
        "sources": [source],
        **described,
    }
    try:
        return Model.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        at = ".".join(map(str, problem["loc"]))
        raise WeightsError(f"{path.name}: {at}: {problem['msg']}") from error


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    names = {file: file.relative_to(path).as_posix() for file in files}
    return [
        file
        for file in files
        if _matches(names[file], WANTED[:-1]) and not _matches(names[file], UNWANTED)
    ]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _file(file: Path, root: Path) -> WeightFile:
    return WeightFile(
        path=file.relative_to(root).as_posix(),
        size_bytes=file.stat().st_size,
        sha256=sha256_of(file),
    )


def _of_gguf(file: Path) -> dict[str, Any]:
    """What a GGUF file says of its model."""
    gguf = read_gguf(file)
    data = gguf.metadata
    if "tokenizer.chat_template" not in data:
        raise WeightsError(f"{file.name} has no chat template, so it is no chat model")
    file_type = data.get("general.file_type")
    quantization = _FILE_TYPES.get(file_type) if isinstance(file_type, int) else None
    if quantization is None:
        known = ", ".join(_FILE_TYPES.values())
        raise WeightsError(f"{file.name}: its number format is none of: {known}")
    sizes = _gguf_sizes(gguf)
    cache = SLOTS_TOKENS * sizes["layers"] * 2 * sizes["kv_heads"] * sizes["head_dim"] * 2
    licence = data.get("general.license")
    return {
        "task": "chat",
        "engine": "llama.cpp",
        "format": "gguf",
        "quantization": quantization,
        **({"licence": str(licence)} if licence else {}),
        "note": "memory_bytes is an estimate",
        "parameters": gguf.parameters,
        "context_tokens": gguf.of_architecture("context_length"),
        "memory_bytes": round(LLAMA_SHARE * file.stat().st_size) + cache + LLAMA_BYTES,
        "architecture": sizes,
    }


def _gguf_sizes(gguf: Gguf) -> dict[str, int]:
    heads = gguf.of_architecture("attention.head_count")
    hidden = gguf.of_architecture("embedding_length")
    return {
        "layers": gguf.of_architecture("block_count"),
        "hidden": hidden,
        "intermediate": gguf.of_architecture("feed_forward_length"),
        "heads": heads,
        "kv_heads": gguf.of_architecture("attention.head_count_kv", heads),
        "head_dim": gguf.of_architecture("attention.key_length", hidden // heads),
        "vocab": gguf.vocabulary,
    }


def _of_folder(folder: Path) -> dict[str, Any]:
    """What a folder of safetensors says of its model."""
    config = _json(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise WeightsError(f"{folder.name} has no safetensors")
    task, engine = _task(folder, config)
    size = sum(file.stat().st_size for file in weights)
    method = config.get("quantization_config", {}).get("quant_method")
    number = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    heads = int(config["num_attention_heads"])
    return {
        "task": task,
        "engine": engine,
        "format": "safetensors",
        "quantization": method or number,
        "parameters": sum(_weights_in(file) for file in weights),
        "context_tokens": _context(folder, config),
        "memory_bytes": size,
        "architecture": {
            "layers": config["num_hidden_layers"],
            "hidden": config["hidden_size"],
            "intermediate": config["intermediate_size"],
            "heads": heads,
            "kv_heads": config.get("num_key_value_heads", heads),
            "head_dim": config.get("head_dim") or config["hidden_size"] // heads,
            "vocab": config["vocab_size"],
        },
    }


def _task(folder: Path, config: dict[str, Any]) -> tuple[str, str]:
    kind = (config.get("architectures") or [""])[0]
    if (folder / "modules.json").is_file():
        return "embedding", "sentence-transformers"
    if kind.endswith("ForSequenceClassification"):
        return "rerank", "sentence-transformers"
    templates = (folder / "chat_template.jinja").is_file() or (
        "chat_template" in _json(folder / "tokenizer_config.json")
    )
    if kind.endswith("ForCausalLM") and templates:
        return "chat", "vllm"
    raise WeightsError(f"{folder.name} is {kind or 'of no known kind'}: no engine runs it for chat")


def _context(folder: Path, config: dict[str, Any]) -> int:
    encoder = folder / "sentence_bert_config.json"
    read = _json(encoder).get("max_seq_length") if encoder.is_file() else None
    return int(read or config["max_position_embeddings"])


def _weights_in(file: Path) -> int:
    """The number of weights in a file of safetensors, by its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header: dict[str, Any] = json.loads(opened.read(length))
    return sum(
        math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
    )


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise WeightsError(f"{file.parent.name} has no {file.name}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _licence(folder: Path) -> str | None:
    """The licence that the front matter of the model's card names."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    matched = re.match(r"---\n(?:.*\n)*?license: *['\"]?([\w.-]+)", text)
    return matched[1] if matched else None
