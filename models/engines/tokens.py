"""What both encoder engines share: inputs as token ids, and checks of ids that a client sent.

Used by `models.engines.openvino` and `models.engines.sentence_transformers`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid

Device = Literal["auto", "cpu", "cuda"]
Text = str | list[int]
"""A text, or the ids of its tokens in the model's own vocabulary."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids of one text or pair, special tokens included, not padded."""

    ids: list[int]
    type_ids: list[int] | None
    """Which ids belong to the second text; None if the model does not distinguish them."""
    cut: bool = False
    """Whether the end of the text is missing, because the model reads no more."""

    @property
    def tokens(self) -> int:
        """The number of tokens in the forward pass."""
        return len(self.ids)


@dataclass(frozen=True)
class Prompts:
    """What an embedder wants before a text, as `config_sentence_transformers.json` says it.

    A text that begins with one of the `known` is left as it is.
    """

    default: str = ""
    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, model_dir: Path) -> "Prompts":
        """Those of a model's folder; none if it names no default."""
        path = model_dir / "config_sentence_transformers.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        prompts = content.get("prompts") or {}
        default = prompts.get(content.get("default_prompt_name")) or ""
        return cls(default, tuple(filter(None, prompts.values())))

    def before(self, text: str) -> str:
        """The text as the model reads it."""
        return text if text.startswith(self.known) else self.default + text


@dataclass(frozen=True)
class Vocabulary:
    """How many tokens a tokenizer knows, and the special token that its texts begin with."""

    size: int
    opening: int | None

    @classmethod
    def of(cls, size: int, whole: Sequence[int], bare: Sequence[int]) -> "Vocabulary":
        """Made from the ids of one text with special tokens (`whole`) and without (`bare`)."""
        return cls(size, whole[0] if whole[0] != bare[0] else None)

    def check(self, ids: Sequence[int], index: int) -> None:
        """Raise InputInvalid for ids of another model in `input[index]`, if that can be told."""
        unknown = next((id_ for id_ in ids if not 0 <= id_ < self.size), None)
        if unknown is not None:
            last = self.size - 1
            message = f"input[{index}]: no token has the id {unknown}; ids run from 0 to {last}"
            raise InputInvalid(message)
        if self.opening is not None and list(ids[:1]) != [self.opening]:
            message = (
                f"input[{index}]: tokens of this model begin with {self.opening}, these with"
                f" {ids[0]}: send the text rather than another model's tokens"
            )
            raise InputInvalid(message)


def padded(rows: Sequence[Sequence[int]], padding: int) -> NDArray[np.int64]:
    """The rows as a matrix, padded on the right to the longest."""
    matrix = np.full((len(rows), max(map(len, rows))), padding, np.int64)
    for row, numbers in zip(matrix, rows, strict=True):
        row[: len(numbers)] = numbers
    return matrix
