"""A model described by a user, to plan for models that are not in the catalogue.

`params=8b,layers=32,kv_heads=8,head_dim=128,dtype=fp16`: called by `tiffin plan --model`.
"""

import math
import re
from collections.abc import Callable

from pydantic import ValidationError

from models.architecture import Architecture, scheme_named, weight_bytes
from models.errors import PlacementError
from models.placement.arithmetic import Workload

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmb]?)", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_NEEDED = ("params", "layers", "kv_heads", "head_dim")
_SHAPE = ("layers", "kv_heads", "head_dim", "hidden", "intermediate", "heads", "vocab")
_WORDS = ("name", "dtype")
_OTHERS = ("context", "parallel", "gpus")

USUAL_VOCAB = 128_256
USUAL_HEADS_PER_KV_HEAD = 8
USUAL_FEED_FORWARD = 3.5
"""Defaults for sizes that are not given: those of the Llama 3 family."""


def parse_model(text: str, *, number: int, context_tokens: int, parallel: int) -> Workload:
    """The workload that a description means. Raises PlacementError, which lists the known keys."""
    fields = _fields(text)
    if missing := [key for key in _NEEDED if key not in fields]:
        raise _wrong(text, f"{', '.join(missing)} is missing")
    try:
        scheme = scheme_named(fields.get("dtype", "fp16"))
    except ValueError as error:
        raise _wrong(text, f"dtype: {error}") from error
    parameters = _count(text, fields, "params")
    shape = _shape(text, fields, parameters)
    return Workload(
        service=f"Model{number}",
        model=fields.get("name", f"{fields['params']} {fields.get('dtype', 'fp16')}"),
        engine="vllm",
        parameters=parameters,
        scheme=scheme,
        weight_bytes=weight_bytes(parameters, scheme, shape),
        architecture=shape,
        context_tokens=_count(text, fields, "context", context_tokens),
        parallel=_count(text, fields, "parallel", parallel),
        number_bytes=4 if scheme.name == "float32" else 2,
        gpus=_gpus(text, fields),
    )


def _fields(text: str) -> dict[str, str]:
    known = dict.fromkeys((*_NEEDED, *_SHAPE, *_WORDS, *_OTHERS))
    fields: dict[str, str] = {}
    for item in text.split(","):
        key, sign, value = item.strip().partition("=")
        if not sign or not value or key not in known:
            raise _wrong(
                text, f"{item.strip()!r} is not KEY=VALUE with a KEY of {', '.join(known)}"
            )
        fields[key] = value
    return fields


def _shape(text: str, fields: dict[str, str], parameters: int) -> Architecture:
    """The sizes given, and typical ones for the others at that number of parameters."""

    def size(key: str, usual: Callable[[], float]) -> int:
        return _count(text, fields, key) if key in fields else max(1, round(usual()))

    layers, kv_heads = (_count(text, fields, key) for key in ("layers", "kv_heads"))
    # A layer has about 12 * hidden^2 weights (attention 4, feed-forward 8).
    hidden = size("hidden", lambda: math.sqrt(parameters / (12 * layers)))
    try:
        return Architecture(
            layers=layers,
            kv_heads=kv_heads,
            head_dim=_count(text, fields, "head_dim"),
            hidden=hidden,
            intermediate=size("intermediate", lambda: USUAL_FEED_FORWARD * hidden),
            heads=size("heads", lambda: USUAL_HEADS_PER_KV_HEAD * kv_heads),
            vocab=size("vocab", lambda: USUAL_VOCAB),
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise _wrong(text, f"{problem['loc'][0]}: {problem['msg']}") from error


def _count(text: str, fields: dict[str, str], key: str, default: int | None = None) -> int:
    if key not in fields and default is not None:
        return default
    match = _NUMBER.fullmatch(fields[key])
    value = round(float(match[1]) * _FACTOR[match[2].lower()]) if match else 0
    if value < 1:
        raise _wrong(text, f"{key}={fields[key]} is not a number such as 32, 8k or 8b")
    return value


def _gpus(text: str, fields: dict[str, str]) -> float | None:
    if "gpus" not in fields:
        return None
    try:
        gpus = float(fields["gpus"])
    except ValueError:
        gpus = 0
    if not (0 < gpus < 1 or gpus in {1, 2, 4, 8}):
        raise _wrong(text, f"gpus={fields['gpus']} is neither a share below 1 nor 1, 2, 4 or 8")
    return gpus


def _wrong(text: str, reason: str) -> PlacementError:
    return PlacementError(f"model {text!r}: {reason}")
