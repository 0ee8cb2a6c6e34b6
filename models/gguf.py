"""Reads what a GGUF file says before its weights: metadata, and where each tensor lies.

The format is ggml's: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The llama.cpp
engine reads the vocabulary from it, `tiffin models add` everything that a catalogue says, and a
conversion the tensors.
"""

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from models.errors import WeightsError

Value = str | int | float | bool | list["Value"]

_MAGIC = b"GGUF"
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_MOST_BYTES = 1 << 28
"""No string or array of numbers is longer: a broken length must not take the memory."""


ALIGNMENT = 32
"""Tensors begin at multiples of it, unless a file says otherwise."""


@dataclass(frozen=True)
class Tensor:
    """One tensor: its columns come first in `shape`, `kind` is ggml's code, `at` is in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    at: int


@dataclass(frozen=True)
class Gguf:
    """Every key of a file with its value, and its tensors; the metadata ends at a byte."""

    metadata: dict[str, Value]
    metadata_end: int
    tensors: tuple[Tensor, ...]

    @property
    def parameters(self) -> int:
        """How many weights the tensors have."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def of_architecture(self, key: str, default: int | None = None) -> int:
        """A size of the model; of one for each layer, the largest. Raises WeightsError."""
        name = f"{self.metadata.get('general.architecture')}.{key}"
        value = self.metadata.get(name, default)
        sizes = value if isinstance(value, list) else [value]
        found = [size for size in sizes if isinstance(size, int)]
        if not found:
            raise WeightsError(f"the GGUF file does not say its {name}")
        return max(found)

    @property
    def vocabulary(self) -> int:
        """The number of tokens."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return len(tokens) if isinstance(tokens, list) else 0


def read_metadata(file: Path) -> dict[str, Value]:
    """Every key of the file with its value. Raises WeightsError if it is not a GGUF file."""
    return read_gguf(file).metadata


def read_gguf(file: Path) -> Gguf:
    """What the file says before its weights. Raises WeightsError if it is not a GGUF file."""
    try:
        with file.open("rb") as opened:
            if opened.read(len(_MAGIC)) != _MAGIC:
                raise WeightsError(f"{file.name} is not a GGUF file")
            _, tensors, count = struct.unpack("<IQQ", opened.read(20))
            pairs = {_string(opened): _value(opened, _number(opened, "I")) for _ in range(count)}
            end = opened.tell()
            found = [_tensor(opened) for _ in range(tensors)]
            return Gguf(pairs, end, _placed(found, opened.tell(), pairs))
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise WeightsError(f"{file.name} is a broken GGUF file: {error}") from error


def _tensor(opened: BinaryIO) -> Tensor:
    """The next tensor of the directory; its place is counted from where the weights begin."""
    name, dimensions = _string(opened), _number(opened, "I")
    shape = struct.unpack(f"<{dimensions}Q", _bytes(opened, 8 * dimensions))
    return Tensor(name, shape, *struct.unpack("<IQ", _bytes(opened, 12)))


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """The next place, in bytes, where something aligned may begin."""
    return -(-size // alignment) * alignment


def _placed(found: list[Tensor], end: int, pairs: dict[str, Value]) -> tuple[Tensor, ...]:
    """The tensors with their places in the file, whose directory ends at a byte."""
    alignment = pairs.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment}")
    begin = aligned(end, alignment)
    return tuple(replace(tensor, at=begin + tensor.at) for tensor in found)


def _value(opened: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(opened)
    if kind == _ARRAY:
        return _array(opened)
    if kind not in _NUMBERS:
        raise ValueError(f"a value has the unknown type {kind}")
    return _number(opened, _NUMBERS[kind])


def _array(opened: BinaryIO) -> Value:
    kind, length = struct.unpack("<IQ", opened.read(12))
    if kind == _STRING:  # a vocabulary and its merges: 300,000 of them
        return [_bytes(opened, *_LENGTH.unpack(opened.read(8))).decode() for _ in range(length)]
    if (code := _NUMBERS.get(kind)) is None:
        return [_value(opened, kind) for _ in range(length)]
    return list(struct.unpack(f"<{length}{code}", _bytes(opened, length * struct.calcsize(code))))


def _string(opened: BinaryIO) -> str:
    return _bytes(opened, _number(opened, "Q")).decode()


def _number(opened: BinaryIO, code: str) -> int:
    value: int
    (value,) = struct.unpack(f"<{code}", opened.read(struct.calcsize(code)))
    return value


def _bytes(opened: BinaryIO, length: int) -> bytes:
    if length > _MOST_BYTES:
        raise ValueError(f"it claims a value of {length} bytes")
    return opened.read(length)
