"""Recipe widen-qwen2-gguf: a Qwen2 in GGUF whose rows become multiples of 256, with zeros.

llama.cpp's fast kernels multiply the K types, whose blocks hold 256 numbers. The rows of a model of
896 are no multiple of that, so its maker had to fall back to Q5_0 and Q8_0, which a CPU multiplies
more slowly. Here the hidden state gets zeros at its end, each group of heads gets heads that are
zero, and the matrices become K types. Nothing else changes: what is added is never more than zero,
the norms are scaled for the longer row that they average over, and the numbers are those of the
source, rounded anew to Q4_K (`ffn_gate` and `ffn_up`) or Q6_K (the others); `ffn_down`, which is of
a K type already, keeps its bytes. Both uses of the vocabulary's matrix share the better of its
two copies. The same input gives the same bytes.
"""

import math
import os
import re
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.conversions.kquants import F32, KINDS, Q4_K, Q6_K, READ, SUPER, WRITE, Bytes, Kind
from models.errors import WeightsError
from models.gguf import Gguf, Tensor, aligned, read_gguf

ROWS = 256
"""Rows that a thread converts at once: a megabyte, so that they stay in the CPU's cache, which
halves the time."""

THREADS = min(4, os.cpu_count() or 1)

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_EMBEDDING_LENGTH, _HEAD_COUNT = "embedding_length", "attention.head_count"
_EPSILON = "attention.layer_norm_rms_epsilon"

_HIDDEN, _HEADS = "hidden", "heads"
_LAYOUT: Mapping[str, tuple[str | None, ...]] = {
    "attn_q.weight": (_HIDDEN, _HEADS),
    "attn_q.bias": (_HEADS,),
    "attn_k.weight": (_HIDDEN, None),
    "attn_k.bias": (None,),
    "attn_v.weight": (_HIDDEN, None),
    "attn_v.bias": (None,),
    "attn_output.weight": (_HEADS, _HIDDEN),
    "ffn_gate.weight": (_HIDDEN, None),
    "ffn_up.weight": (_HIDDEN, None),
    "ffn_down.weight": (None, _HIDDEN),
    "attn_norm.weight": (_HIDDEN,),
    "ffn_norm.weight": (_HIDDEN,),
    "output_norm.weight": (_HIDDEN,),
    _EMBEDDING: (_HIDDEN, None),
}
"""Which dimension of a tensor becomes longer: that of its columns first, then that of its rows."""


@dataclass(frozen=True)
class _Wider:
    """How the model grows: its new sizes, and where the old numbers of a dimension go."""

    hidden: int
    heads: int
    scale: np.float32
    epsilon: float
    places: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, gguf: Gguf) -> "_Wider":
        """Raises WeightsError unless this is a Qwen2 whose heads can grow along."""
        if (kind := gguf.metadata.get("general.architecture")) != "qwen2":
            raise WeightsError(f"widen-qwen2-gguf is for qwen2, and the file's model is {kind}")
        old, heads = (gguf.of_architecture(key) for key in (_EMBEDDING_LENGTH, _HEAD_COUNT))
        groups, long = gguf.of_architecture("attention.head_count_kv"), old // heads
        hidden = aligned(old, SUPER)
        if hidden % (groups * long):
            raise WeightsError(f"{groups} groups of heads of {long} numbers do not fill {hidden}")
        grouped = np.arange(hidden).reshape(groups, -1, long)[:, : heads // groups]
        epsilon = gguf.metadata[f"qwen2.{_EPSILON}"]
        if not isinstance(epsilon, float):
            raise WeightsError(f"the GGUF file's qwen2.{_EPSILON} is no number")
        return cls(
            hidden=hidden,
            heads=hidden // long,
            scale=np.float32((old / hidden) ** 0.5),
            epsilon=epsilon * old / hidden,
            places={_HIDDEN: np.arange(old), _HEADS: grouped.ravel()},
        )

    def spread(self, numbers: NDArray[Any], dimension: str | None) -> NDArray[Any]:
        """The last axis at its new length: zeros, and the old numbers at their places."""
        if dimension is None:
            return numbers
        wide = np.zeros((*numbers.shape[:-1], self.hidden), numbers.dtype)
        wide[..., self.places[dimension]] = numbers
        return wide


def widen(source: Path, target: Path) -> None:
    """Write the wider model of the only GGUF file in `source`, as `NAME-wide.gguf`."""
    (file,) = source.glob("*.gguf")
    gguf = read_gguf(file)
    wider, data = _Wider.of(gguf), np.memmap(file, np.uint8, "r")
    tensors = _with_one_vocabulary(gguf.tensors)
    kinds = [_kind_of(tensor) for tensor in tensors]
    with (target / f"{file.stem}-wide.gguf").open("wb") as opened:
        opened.write(_head(bytes(data[: gguf.metadata_end]), wider, len(tensors)))
        at = 0
        for tensor, kind in zip(tensors, kinds, strict=True):
            shape = _shape(tensor, wider)
            opened.write(_entry(tensor.name, shape, kind, at))
            at = aligned(at + math.prod(shape[1:]) * kind.row_bytes(shape[0]))
        _fill(opened)
        for tensor, kind in zip(tensors, kinds, strict=True):
            opened.write(_converted(data, tensor, kind, wider).data)
            _fill(opened)


def _with_one_vocabulary(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Without the vocabulary's second copy: the better one, which the output has, is for both."""
    output = next((tensor for tensor in tensors if tensor.name == _OUTPUT), None)
    kept = [tensor for tensor in tensors if tensor.name != _OUTPUT]
    if output is None:
        return kept
    shared = replace(output, name=_EMBEDDING)
    return [shared if tensor.name == _EMBEDDING else tensor for tensor in kept]


def _layout(tensor: Tensor) -> tuple[str | None, ...]:
    name = re.sub(r"^blk\.\d+\.", "", tensor.name)
    if name not in _LAYOUT or tensor.kind not in KINDS:
        raise WeightsError(f"widen-qwen2-gguf does not know {tensor.name} of type {tensor.kind}")
    return _LAYOUT[name]


def _shape(tensor: Tensor, wider: _Wider) -> tuple[int, ...]:
    sizes = zip(tensor.shape, _layout(tensor), strict=True)
    return tuple(size if dimension is None else wider.hidden for size, dimension in sizes)


def _kind_of(tensor: Tensor) -> Kind:
    """What the tensor becomes."""
    _layout(tensor)
    kind = KINDS[tensor.kind]
    if kind not in READ:
        return kind
    return Q4_K if "ffn" in tensor.name else Q6_K


def _converted(data: Bytes, tensor: Tensor, kind: Kind, wider: _Wider) -> Bytes:
    """The tensor's new bytes."""
    old, (columns, *rows) = KINDS[tensor.kind], _layout(tensor)
    count = math.prod(tensor.shape[1:])
    size = old.row_bytes(tensor.shape[0])
    raw = data[tensor.at : tensor.at + count * size].reshape(count, size)
    if old is F32:
        wide = wider.spread(raw.view("<f4"), columns)
        return (wide * wider.scale if "norm" in tensor.name else wide).view(np.uint8)
    if kind != old:
        parts = [raw[start : start + ROWS] for start in range(0, count, ROWS)]
        rounded = partial(_rounded, old=old, kind=kind, columns=columns, wider=wider)
        with ThreadPoolExecutor(THREADS) as pool:
            raw = np.concatenate(list(pool.map(rounded, parts)))
    return np.ascontiguousarray(wider.spread(raw.T, rows[0]).T)


def _rounded(raw: Bytes, old: Kind, kind: Kind, columns: str | None, wider: _Wider) -> Bytes:
    """Some rows in another type."""
    numbers = READ[old](raw.reshape(-1, old.size)).reshape(len(raw), -1)
    wide = wider.spread(numbers, columns)
    return WRITE[kind](wide.reshape(-1, SUPER)).reshape(len(raw), -1)


def _head(metadata: bytes, wider: _Wider, tensors: int) -> bytes:
    """The file's metadata with the new sizes."""
    head = bytearray(metadata)
    struct.pack_into("<Q", head, 8, tensors)
    for key, code, value in (
        (_EMBEDDING_LENGTH, "<I", wider.hidden),
        (_HEAD_COUNT, "<I", wider.heads),
        (_EPSILON, "<f", wider.epsilon),
    ):
        name = f"qwen2.{key}".encode()
        stored = struct.pack("<Q", len(name)) + name
        struct.pack_into(code, head, head.index(stored) + len(stored) + 4, value)
    return bytes(head)


def _entry(name: str, shape: Sequence[int], kind: Kind, at: int) -> bytes:
    """A tensor's line in the directory."""
    encoded = name.encode()
    head = struct.pack("<Q", len(encoded)) + encoded
    return head + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind.code, at)


def _fill(opened: BinaryIO) -> None:
    """Zeros up to where the next tensor may begin."""
    opened.write(bytes(aligned(opened.tell()) - opened.tell()))
