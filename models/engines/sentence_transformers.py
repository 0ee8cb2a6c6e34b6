"""The encoder engines on sentence-transformers: passages to vectors, pairs to relevance logits.

Importing this module imports torch (seconds, 400 MB), so only the two encoder services do that when
they start. Tokenizing and running are separate, so that `tiffin.traffic.batching` can sort and fill
batches by tokens; every step is the library's own, and so are the results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch.nn.functional import normalize
from transformers.utils.logging import disable_progress_bar

from models.errors import InputInvalid, InputTooLong, WeightsError

Device = Literal["auto", "cpu", "cuda"]
Text = str | list[int]
"""A text, or the ids of its tokens in the model's own vocabulary."""

Raw = TypeVar("Raw", Text, tuple[str, str])


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


class _Encoder(Generic[Raw]):
    """What both engines share: tokenization as in the library, padding, one forward pass.

    `threads` is how many CPU cores torch may use in this process.
    """

    library: ClassVar[type[SentenceTransformer | CrossEncoder]]
    max_tokens: int

    def __init__(self, model_dir: Path, *, device: Device = "auto", threads: int) -> None:
        torch.set_num_threads(threads)
        model = self.library(**_model_arguments(model_dir, device))
        self._model = model.eval()
        self._pad_id = int(model.tokenizer.pad_token_id)
        self._pad_type_id = int(model.tokenizer.pad_token_type_id)
        if model.max_seq_length is None:
            raise WeightsError("the model's folder does not say how many tokens it reads at most")
        self.max_tokens = model.max_seq_length

    def tokenize(self, inputs: Sequence[Raw]) -> list[TokenizedText]:
        """Tokenize and truncate at `max_tokens` as the bare library does, without padding."""
        if not inputs:
            return []
        features: dict[str, Any] = self._model.preprocess(
            list(inputs),
            processing_kwargs={"text": {"padding": False}, "common": {"return_tensors": None}},
        )
        ids: list[list[int]] = features["input_ids"]
        type_ids: list[list[int]] | list[None] = features.get("token_type_ids", [None] * len(ids))
        return [
            TokenizedText(of_one, types, len(of_one) >= self.max_tokens < self._length(item))
            for of_one, types, item in zip(ids, type_ids, inputs, strict=True)
        ]

    def tokenize_whole(self, inputs: Sequence[Raw]) -> list[TokenizedText]:
        """Tokenize without truncating. Raises InputTooLong for the first that is too long."""
        for item in inputs:
            if (tokens := self._length(item)) > self.max_tokens:
                raise InputTooLong(tokens, self.max_tokens)
        return self.tokenize(inputs)

    def _length(self, item: Text | tuple[str, str]) -> int:
        if isinstance(item, list):
            return len(item)
        texts = (item,) if isinstance(item, str) else item
        return len(self._model.tokenizer(*texts, truncation=False, verbose=False).input_ids)

    def _forward(self, batch: Sequence[TokenizedText], output: str) -> torch.Tensor:
        with torch.inference_mode():
            features = self._model(self._padded(batch))
            # Half precision is only used to multiply: later steps compare small numbers.
            return features[output].float()  # type: ignore[no-any-return]

    def _padded(self, batch: Sequence[TokenizedText]) -> dict[str, Any]:
        ids = _matrix([item.ids for item in batch], self._pad_id)
        lengths = torch.tensor([item.tokens for item in batch])
        features: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        }
        type_ids = [item.type_ids for item in batch if item.type_ids is not None]
        if type_ids:
            features["token_type_ids"] = _matrix(type_ids, self._pad_type_id)
        on_device = {name: value.to(self._model.device) for name, value in features.items()}
        return {**on_device, "modality": "text"}


class Embedder(_Encoder[Text]):
    """Texts to L2-normalised vectors, as `SentenceTransformer.encode(normalize_embeddings=True)`.

    Token ids are used as they are, without special tokens added.
    """

    library = SentenceTransformer

    def __init__(self, model_dir: Path, *, device: Device = "auto", threads: int) -> None:
        super().__init__(model_dir, device=device, threads=threads)
        self._opening = _opening(self._model.tokenizer)

    def tokenize(self, inputs: Sequence[Text]) -> list[TokenizedText]:
        """Tokenize texts, check ids, and truncate at `max_tokens`.

        Raises InputInvalid for ids of another model: an id that is not in the vocabulary, or a
        first id with which this tokenizer's texts do not begin.
        """
        texts = iter(super().tokenize([text for text in inputs if isinstance(text, str)]))
        return [
            next(texts) if isinstance(item, str) else self._of_ids(item, index)
            for index, item in enumerate(inputs)
        ]

    def _of_ids(self, ids: list[int], index: int) -> TokenizedText:
        size = len(self._model.tokenizer)
        unknown = next((id_ for id_ in ids if not 0 <= id_ < size), None)
        if unknown is not None:
            message = f"input[{index}]: no token has the id {unknown}; ids run from 0 to {size - 1}"
            raise InputInvalid(message)
        if self._opening and ids[:1] != self._opening:
            message = (
                f"input[{index}]: tokens of this model begin with {self._opening[0]}, these with"
                f" {ids[0]}: send the text rather than another model's tokens"
            )
            raise InputInvalid(message)
        kept = ids[: self.max_tokens]
        told_apart = "token_type_ids" in self._model.tokenizer.model_input_names
        types = [0] * len(kept) if told_apart else None
        return TokenizedText(kept, types, len(kept) < len(ids))

    def run(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """One forward pass: float32 of shape (len(batch), width), every row of length 1."""
        vectors = normalize(self._forward(batch, "sentence_embedding"), dim=1)
        return _float32(vectors)


class CrossEncoderScorer(_Encoder[tuple[str, str]]):
    """(query, passage) pairs to raw logits, as `CrossEncoder.predict` without its activation."""

    library = CrossEncoder

    def run(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """One forward pass: float32 of shape (len(batch), 1), higher is more relevant."""
        return _float32(self._forward(batch, "scores"))


def _model_arguments(model_dir: Path, device: Device) -> dict[str, Any]:
    """The arguments for loading from this folder, never from a hub, in the device's best type."""
    if not (model_dir / "config.json").is_file():
        raise WeightsError(f"{model_dir.name}: not a model folder, it has no config.json")
    disable_progress_bar()  # type: ignore[no-untyped-call]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # float16 keeps three more bits of a score than bfloat16; CPUs compute either by emulation.
    dtype = torch.float16 if device == "cuda" else torch.float32
    return {
        "model_name_or_path": str(model_dir),
        "device": device,
        "local_files_only": True,
        "model_kwargs": {"dtype": dtype, "attn_implementation": "sdpa"},
    }


def _opening(tokenizer: Any) -> list[int]:  # noqa: ANN401  transformers has many kinds
    """The special token that every text of this tokenizer begins with, if there is one."""
    whole, bare = (
        tokenizer("a", add_special_tokens=special).input_ids for special in (True, False)
    )
    return whole[:1] if whole[0] != bare[0] else []


def _matrix(rows: Sequence[list[int]], padding: int) -> torch.Tensor:
    """The rows, padded to the longest. NumPy reads them ten times as fast as torch."""
    matrix = np.full((len(rows), max(map(len, rows))), padding)
    for row, numbers in zip(matrix, rows, strict=True):
        row[: len(numbers)] = numbers
    return torch.from_numpy(matrix)


def _float32(rows: torch.Tensor) -> NDArray[np.float32]:
    return rows.cpu().numpy().astype(np.float32, copy=False)
