"""ggml's blocks of numbers as arrays: reads Q5_0 and Q8_0, writes Q4_K and Q6_K.

Called by `models.conversions.widen`. The layouts are those of ggml's `ggml-common.h`. Every step is
an elementwise operation of IEEE float32, so the same numbers give the same bytes on any machine.
A block whose bytes are all zero holds zeros in each of these types.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SUPER = 256
"""Numbers in a block of a K type. A row must be a multiple of it."""

_SHARES = (1.03, 0.97, 0.9, 0.83)
SHRINK = tuple((below, above) for below in _SHARES for above in _SHARES)
"""Shares of a part's smallest and largest number that Q4_K's sixteen steps may reach from and to:
a shorter reach has finer steps for the many numbers in the middle."""


@dataclass(frozen=True)
class Kind:
    """A number format: its code in a GGUF file, the numbers of a block and their bytes."""

    code: int
    numbers: int
    size: int

    def row_bytes(self, numbers: int) -> int:
        """The bytes of a row of that many numbers."""
        return numbers // self.numbers * self.size


F32 = Kind(0, 1, 4)
Q5_0 = Kind(6, 32, 22)
Q8_0 = Kind(8, 32, 34)
Q4_K = Kind(12, SUPER, 144)
Q5_K = Kind(13, SUPER, 176)
Q6_K = Kind(14, SUPER, 210)

KINDS: Mapping[int, Kind] = {kind.code: kind for kind in (F32, Q5_0, Q8_0, Q4_K, Q5_K, Q6_K)}


def read_q8_0(blocks: Bytes) -> Floats:
    """Blocks of shape (n, 34) as float32 of shape (n, 32)."""
    steps = blocks[:, 2:].view(np.int8).astype(np.float32)
    return steps * _halves(blocks)


def read_q5_0(blocks: Bytes) -> Floats:
    """Blocks of shape (n, 22) as float32 of shape (n, 32)."""
    fifth = np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little")
    low = np.concatenate([blocks[:, 6:] & 15, blocks[:, 6:] >> 4], axis=1)
    steps: Floats = (low | fifth << 4).astype(np.float32) - np.float32(16)
    return steps * _halves(blocks)


def write_q6_k(numbers: Floats) -> Bytes:
    """Float32 of shape (n, 256) as blocks of shape (n, 210): sixteen scales, no minimum."""
    parts = numbers.reshape(-1, 16, 16)
    low, high = parts.min(axis=2), parts.max(axis=2)
    # The number that is furthest from zero becomes -32, the largest step there is.
    furthest: Floats = np.where(-low > high, low, high)
    scales = furthest / np.float32(-32)
    largest = np.abs(scales).max(axis=1, keepdims=True)
    whole = (largest / np.float32(127)).astype(np.float16)
    steps = np.rint(_ratio(scales, whole.astype(np.float32))).clip(-127, 127)
    unit = (steps * whole.astype(np.float32))[:, :, None]
    coded = (np.rint(_ratio(parts, unit)).clip(-32, 31) + 32).astype(np.uint8)
    q = coded.reshape(-1, 2, 4, 32)
    fours = np.concatenate(
        [q[:, :, 0] & 15 | q[:, :, 2] << 4, q[:, :, 1] & 15 | q[:, :, 3] << 4], 2
    )
    twos = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    return np.concatenate(
        [
            fours.reshape(-1, 128),
            twos.reshape(-1, 64),
            steps.astype(np.int8).view(np.uint8),
            whole.view(np.uint8),
        ],
        axis=1,
    )


def write_q4_k(numbers: Floats) -> Bytes:
    """Float32 of shape (n, 256) as blocks of shape (n, 144): eight scales and eight minima."""
    parts = numbers.reshape(-1, 8, 32)
    low, scales = _closest(parts)
    whole, steps = _six_bits(scales)
    below, minima = _six_bits(-low)
    unit = (steps * whole.astype(np.float32))[:, :, None]
    lifted = parts + (minima * below.astype(np.float32))[:, :, None]
    q = np.rint(_ratio(lifted, unit)).clip(0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    fours = q[:, :, 0] | q[:, :, 1] << 4
    return np.concatenate(
        [
            whole.view(np.uint8),
            below.view(np.uint8),
            _packed(steps.astype(np.uint8), minima.astype(np.uint8)),
            fours.reshape(-1, 128),
        ],
        axis=1,
    )


READ: Mapping[Kind, Callable[[Bytes], Floats]] = {Q5_0: read_q5_0, Q8_0: read_q8_0}
WRITE: Mapping[Kind, Callable[[Floats], Bytes]] = {Q4_K: write_q4_k, Q6_K: write_q6_k}


def _halves(blocks: Bytes) -> Floats:
    """The float16 that each block begins with."""
    return np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)


def _closest(parts: Floats) -> tuple[Floats, Floats]:
    """The minimum and the scale of each part: those of `SHRINK` that err least."""
    low, high = np.minimum(parts.min(axis=2), 0), parts.max(axis=2)
    best_low, best_scale = np.zeros_like(low), np.zeros_like(low)
    least = np.full(low.shape, np.inf, np.float32)
    for below, above in SHRINK:
        start = low * np.float32(below)
        scale = np.maximum(high * np.float32(above) - start, 0) / np.float32(15)
        begin, unit = start[:, :, None], scale[:, :, None]
        steps = np.rint(_ratio(parts - begin, unit)).clip(0, 15)
        error = _total(np.square(steps * unit + begin - parts))
        better = error < least
        least = np.where(better, error, least)
        best_low = np.where(better, start, best_low)
        best_scale = np.where(better, scale, best_scale)
    return best_low, best_scale


def _total(parts: Floats) -> Floats:
    """The sum of the last axis, a power of two long, in the same order on any machine."""
    while (half := parts.shape[-1] // 2) > 0:
        parts = parts[..., :half] + parts[..., half:]
    return parts[..., 0]


def _six_bits(values: Floats) -> tuple[NDArray[np.float16], Floats]:
    """A float16 for each row, and the row's values in steps of it, 0 to 63."""
    whole = (values.max(axis=1, keepdims=True) / np.float32(63)).astype(np.float16)
    return whole, np.rint(_ratio(values, whole.astype(np.float32))).clip(0, 63)


def _packed(scales: Bytes, minima: Bytes) -> Bytes:
    """Eight scales and eight minima of six bits each in twelve bytes."""
    head = scales[:, :4] | scales[:, 4:] >> 4 << 6
    middle = minima[:, :4] | minima[:, 4:] >> 4 << 6
    return np.concatenate([head, middle, scales[:, 4:] & 15 | minima[:, 4:] << 4], axis=1)


def _ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, and 0 where the divisor is 0."""
    quotient: Floats = above / np.where(below == 0, np.float32(np.inf), below)
    return quotient
