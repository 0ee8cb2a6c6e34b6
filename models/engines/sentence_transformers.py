"""The encoder engines on sentence-transformers: passages to vectors, pairs to relevance logits.

They run on GPUs and whatever `models.engines.openvino` cannot, and are the reference in tests.
Importing this module imports torch (seconds, 400 MB), so `models.engines.encoders` does it only
then. Tokenizing and running are separate, so that `tiffin.traffic.batching` can sort and fill
batches by tokens; every step is the library's own, and so are the results.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch.nn.functional import normalize
from transformers.utils.logging import disable_progress_bar

from models.engines.reading import shipped
from models.engines.tokens import Device, Prompts, Text, TokenizedText, Vocabulary, padded
from models.errors import InputTooLong, WeightsError

Raw = TypeVar("Raw", Text, tuple[str, str])


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
        # "[SEP]" in a text is text. As a control token it would end the text, or a query in a pair.
        model.tokenizer.split_special_tokens = True
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

    def count(self, inputs: Sequence[Raw]) -> list[int]:
        """The tokens of each input without truncation, special tokens included."""
        return [self._length(item) for item in inputs]

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
        # NumPy reads lists ten times as fast as torch.
        ids = torch.from_numpy(padded([item.ids for item in batch], self._pad_id))
        lengths = torch.tensor([item.tokens for item in batch])
        features: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        }
        type_ids = [item.type_ids for item in batch if item.type_ids is not None]
        if type_ids:
            features["token_type_ids"] = torch.from_numpy(padded(type_ids, self._pad_type_id))
        on_device = {name: value.to(self._model.device) for name, value in features.items()}
        return {**on_device, "modality": "text"}


class Embedder(_Encoder[Text]):
    """Texts to L2-normalised vectors, as `SentenceTransformer.encode(normalize_embeddings=True)`.

    Token ids are used as they are, without a prompt or special tokens added.
    """

    library = SentenceTransformer

    def __init__(self, model_dir: Path, *, device: Device = "auto", threads: int) -> None:
        super().__init__(model_dir, device=device, threads=threads)
        self._prompts = Prompts.of(model_dir)
        tokenizer = self._model.tokenizer
        whole, bare = (
            tokenizer("a", add_special_tokens=special).input_ids for special in (True, False)
        )
        self._vocabulary = Vocabulary.of(len(tokenizer), whole, bare)

    def tokenize(self, inputs: Sequence[Text]) -> list[TokenizedText]:
        """Tokenize texts, check ids, and truncate at `max_tokens`.

        Raises InputInvalid for ids of another model: an id that is not in the vocabulary, or a
        first id with which this tokenizer's texts do not begin.
        """
        read = [self._prompts.before(text) for text in inputs if isinstance(text, str)]
        texts = iter(super().tokenize(read))
        return [
            next(texts) if isinstance(item, str) else self._of_ids(item, index)
            for index, item in enumerate(inputs)
        ]

    def _length(self, item: Text | tuple[str, str]) -> int:
        return super()._length(self._prompts.before(item) if isinstance(item, str) else item)

    def _of_ids(self, ids: list[int], index: int) -> TokenizedText:
        self._vocabulary.check(ids, index)
        kept = ids[: self.max_tokens]
        told_apart = "token_type_ids" in self._model.tokenizer.model_input_names
        types = [0] * len(kept) if told_apart else None
        return TokenizedText(kept, types, len(kept) < len(ids))

    def run(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """One forward pass: float32 of shape (len(batch), width), every row of length 1."""
        vectors = normalize(self._forward(batch, "sentence_embedding"), dim=1)
        return _float32(vectors)


class CrossEncoderScorer(_Encoder[tuple[str, str]]):
    """(query, passage) pairs to raw logits, as `CrossEncoder.predict` without its activation.

    Two more columns have the readings of a model that they were made for.
    """

    library = CrossEncoder

    def __init__(self, model_dir: Path, *, device: Device = "auto", threads: int) -> None:
        super().__init__(model_dir, device=device, threads=threads)
        self._reading = shipped(model_dir)
        self._states: dict[int, NDArray[np.float32]] = {}
        for layers in self._reading.weights if self._reading else ():
            end = f"encoder.layer.{layers - 1}"
            layer = next(item for name, item in self._model.named_modules() if name.endswith(end))
            layer.register_forward_hook(partial(self._keep, layers))

    def _keep(self, layers: int, _module: Any, _inputs: Any, output: Any) -> None:  # noqa: ANN401  a hook
        hidden = output[0] if isinstance(output, tuple) else output
        self._states[layers] = _float32(hidden[:, 0].float())

    def run(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """One forward pass: float32 of shape (len(batch), 1 or 3), higher is more relevant."""
        rows = _float32(self._forward(batch, "scores"))
        if self._reading is None:
            return rows
        read = sum(self._states[layers] @ row.T for layers, row in self._reading.weights.items())
        return np.hstack([rows, read + self._reading.bias])


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


def _float32(rows: torch.Tensor) -> NDArray[np.float32]:
    return rows.cpu().numpy().astype(np.float32, copy=False)
