"""The encoder engines on OpenVINO: what runs on a CPU, because neither torch nor its start is paid.

Made by `models.engines.encoders`. Texts are tokenized by `tokenizers` as transformers does it, and
`models.engines.bert_graph` writes the forward pass. Results equal those of sentence-transformers
within float32's rounding (`tests/engines/test_encoders.py`).
"""

import json
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import openvino
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.engines.bert_graph import Output, Unconvertible, Weights, bert_graph
from models.engines.reading import Reading, shipped
from models.engines.tokens import Prompts, Text, TokenizedText, Vocabulary, padded
from models.errors import InputTooLong

Raw = TypeVar("Raw", Text, tuple[str, str])

TOLERANCE = 1e-5
"""How much a row may depend on the rest of its batch. Dynamic int8 differs by .5."""


@cache
def _core() -> openvino.Core:
    """One for the life of the process.

    When the last one goes, OpenVINO frees the stack that it gave to signal handlers, and the next
    signal ends a process in which faulthandler is on (pytest turns it on).
    """
    return openvino.Core()


class _Encoder(Generic[Raw]):
    """What both engines share. `threads` is how many CPU cores a forward pass may use."""

    samples: Sequence[Any]

    def __init__(
        self,
        model_dir: Path,
        output: Output,
        max_tokens: int,
        *,
        threads: int,
        reading: Reading | None = None,
    ) -> None:
        try:
            config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
            self._tokenizer: Any = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
            self._weights = Weights(model_dir / "model.safetensors")
        except Exception as error:  # tokenizers raises nothing narrower
            raise Unconvertible(" ".join(str(error).split())) from error
        self._turn = threading.Lock()  # tokenizing switches the tokenizer's truncation
        self._tokenizer.no_padding()
        # "[SEP]" in a text is text. As a control token it would end the text, or a query in a pair.
        self._tokenizer.encode_special_tokens = True
        self.max_tokens = min(max_tokens, config["max_position_embeddings"])
        self._readings = 0 if reading is None else len(reading.bias)
        compiled = _core().compile_model(
            bert_graph(config, self._weights, output, reading),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # some CPUs would take bfloat16
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Other engines run on the same cores, so no thread may insist on one of them.
                "ENABLE_CPU_PINNING": False,
                "ENABLE_HYPER_THREADING": True,
            },
        )
        self._request = compiled.create_infer_request()
        self._check_batches()
        self._weights.drop_pages()

    def tokenize(self, inputs: Sequence[Raw]) -> list[TokenizedText]:
        """Tokenize and truncate at `max_tokens` as sentence-transformers does, without padding."""
        with self._turn:
            self._tokenizer.enable_truncation(self.max_tokens)
            return self._encoded(inputs)

    def tokenize_whole(self, inputs: Sequence[Raw]) -> list[TokenizedText]:
        """Tokenize without truncating. Raises InputTooLong for the first that is too long."""
        encoded = self._whole(inputs)
        for item in encoded:
            if item.tokens > self.max_tokens:
                raise InputTooLong(item.tokens, self.max_tokens)
        return encoded

    def count(self, inputs: Sequence[Raw]) -> list[int]:
        """The tokens of each input without truncation, special tokens included."""
        return [item.tokens for item in self._whole(inputs)]

    def _whole(self, inputs: Sequence[Raw]) -> list[TokenizedText]:
        with self._turn:
            self._tokenizer.no_truncation()
            return self._encoded(inputs)

    def run(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """One forward pass: float32 of shape (len(batch), width)."""
        ids = padded([item.ids for item in batch], 0).astype(np.int32)
        types = padded([item.type_ids or [0] * item.tokens for item in batch], 0).astype(np.int32)
        lengths = np.array([item.tokens for item in batch])
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        rows: NDArray[np.float32] = self._request.infer([ids, types, mask])[0]
        return rows

    def _encoded(self, inputs: Sequence[Any]) -> list[TokenizedText]:
        encoded = self._tokenizer.encode_batch_fast(list(inputs))
        return [TokenizedText(item.ids, item.type_ids, bool(item.overflowing)) for item in encoded]

    def _check_batches(self) -> None:
        """Refuse to run if a row depends on what else is in its batch; warm the model up."""
        batch = self.tokenize(self.samples)
        alone = np.concatenate([self.run([item]) for item in batch])
        difference = np.abs(self.run(batch) - alone)
        difference[:, difference.shape[1] - self._readings :] /= 10  # sums of 768 numbers
        if difference.max() > TOLERANCE:
            raise Unconvertible(f"rows change by {difference.max():.1e} with the batch")


class Embedder(_Encoder[Text]):
    """Texts to L2-normalised vectors, as `SentenceTransformer.encode(normalize_embeddings=True)`.

    Token ids are used as they are, without a prompt or special tokens added.
    """

    samples = ("warm-up", "A longer text, so that the other one is padded.")

    def __init__(self, model_dir: Path, *, threads: int) -> None:
        output, max_tokens = _pooling(model_dir)
        self._prompts = Prompts.of(model_dir)
        super().__init__(model_dir, output, max_tokens, threads=threads)
        whole, bare = (
            self._tokenizer.encode("a", add_special_tokens=special).ids for special in (True, False)
        )
        self._vocabulary = Vocabulary.of(self._tokenizer.get_vocab_size(), whole, bare)

    def _encoded(self, inputs: Sequence[Text]) -> list[TokenizedText]:
        """Tokenize texts, check ids. Raises InputInvalid for ids of another model."""
        read = [self._prompts.before(text) for text in inputs if isinstance(text, str)]
        texts = iter(super()._encoded(read))
        return [
            next(texts) if isinstance(item, str) else self._of_ids(item, index)
            for index, item in enumerate(inputs)
        ]

    def _of_ids(self, ids: list[int], index: int) -> TokenizedText:
        self._vocabulary.check(ids, index)
        kept = ids if self._tokenizer.truncation is None else ids[: self.max_tokens]
        return TokenizedText(kept, [0] * len(kept), len(kept) < len(ids))


class CrossEncoderScorer(_Encoder[tuple[str, str]]):
    """(query, passage) pairs to raw logits, as `CrossEncoder.predict` without its activation.

    Two more columns have the readings of a model that they were made for.
    """

    samples = (("warm-up", "warm-up"), ("warm-up", "A longer text, so that the other is padded."))

    def __init__(self, model_dir: Path, *, threads: int, reading: Reading | None = None) -> None:
        if (model_dir / "modules.json").exists():
            raise Unconvertible("modules.json: a cross-encoder of several modules")
        max_tokens = int(_read(model_dir, "tokenizer_config.json")["model_max_length"])
        reading = reading or shipped(model_dir)
        super().__init__(model_dir, "score", max_tokens, threads=threads, reading=reading)


def _pooling(model_dir: Path) -> tuple[Output, int]:
    """What a vector is made of, and how many tokens are read. Raises Unconvertible."""
    modules = _read(model_dir, "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise Unconvertible(f"modules.json: {', '.join(kinds)}")
    transformer = _read(model_dir, "sentence_bert_config.json")
    if transformer.get("do_lower_case"):
        raise Unconvertible("sentence_bert_config.json: do_lower_case")
    pooling = _read(model_dir, f"{modules[1]['path']}/config.json")
    modes = [name for name, on in pooling.items() if on and name.startswith("pooling_mode")]
    if modes == ["pooling_mode_mean_tokens"]:
        return "mean", int(transformer["max_seq_length"])
    if modes == ["pooling_mode_cls_token"]:
        return "cls", int(transformer["max_seq_length"])
    raise Unconvertible(f"{modules[1]['path']}/config.json: {', '.join(modes) or 'no mode'}")


def _read(model_dir: Path, name: str) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads((model_dir / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unconvertible(f"{name}: {' '.join(str(error).split())}") from error
