"""The packed file of multilingual-e5-small becomes a folder that both encoder engines can read."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from models.conversions import convert
from models.engines.tokens import Prompts
from models.errors import WeightsError

Damage = Callable[[bytes], bytes]
HIDDEN, INNER = 32, 64
PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "<mask>")
RULES = {"\u200b": " ", "\u0001": "", "ﬁ": "fi"}
NAMES = {
    "emb.word": (len(PIECES), HIDDEN),
    "emb.pos": (16, HIDDEN),
    "emb.ln.w": (HIDDEN,),
    "l0.q.w": (HIDDEN, HIDDEN),
    "l0.q.b": (HIDDEN,),
    "l0.fi.w": (INNER, HIDDEN),
    "l0.fo.w": (HIDDEN, INNER),
}
PACKED = ("emb.word", "l0.q.w", "l0.fi.w", "l0.fo.w")


def packed(rows: np.ndarray) -> bytes:
    """Steps from 0 to 15 with the scale 0.5, in blocks of 32."""
    blocks = rows.astype(np.uint8).reshape(-1, 2, 16)
    scale = np.array(0.5, "<f2").tobytes()
    return b"".join(scale + (low | high << 4).tobytes() for low, high in blocks)


def write(path: Path) -> dict[str, np.ndarray]:
    """Write a small file; returns the steps or the numbers of each tensor."""
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {
        name: random.integers(0, 16, shape) if name in PACKED else random.random(shape, np.float32)
        for name, shape in NAMES.items()
    }
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)])
    rules = b"".join(
        struct.pack(f"<IB{len(text)}I", ord(point), len(text), *map(ord, text))
        for point, text in RULES.items()
    )
    head = b"E5S1" + struct.pack("<8ifi", 1, HIDDEN, 1, 1, INNER, len(PIECES), 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob))
    head += ends.astype("<u4").tobytes() + np.arange(len(PIECES), dtype="<f4").tobytes() + blob
    head += struct.pack("<iI", len(RULES), len(rules)) + rules + struct.pack("<i", len(tensors))
    start = len(head) + sum(2 + len(name) + 21 for name in tensors)
    body = b""
    for name, rows in tensors.items():
        raw = packed(rows) if name in PACKED else rows.tobytes()
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", name in PACKED, rows.size, start + len(body), len(raw))
        body += raw
    path.write_bytes(head + body)
    return tensors


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    return tmp_path / "source", tmp_path / "target"


def test_every_tensor_is_multiplied_out_under_its_own_name(folders: tuple[Path, Path]) -> None:
    source, target = folders
    written = write(source / "packed.bin")
    convert("dequantise-e5", source, target)
    tensors = load_file(target / "model.safetensors")
    layer = "encoder.layer.0"
    for short, name in (
        ("emb.word", "embeddings.word_embeddings.weight"),
        ("emb.ln.w", "embeddings.LayerNorm.weight"),
        ("l0.q.w", f"{layer}.attention.self.query.weight"),
        ("l0.q.b", f"{layer}.attention.self.query.bias"),
        ("l0.fo.w", f"{layer}.output.dense.weight"),
    ):
        expected = (written[short] - 8) * 0.5 if short in PACKED else written[short]
        np.testing.assert_array_equal(tensors[name], expected.astype(np.float32), err_msg=name)
    assert json.loads((target / "config.json").read_text())["layer_norm_eps"] == 1e-12


def test_the_tokenizer_replaces_what_the_model_s_own_does(folders: tuple[Path, Path]) -> None:
    source, target = folders
    write(source / "packed.bin")
    convert("dequantise-e5", source, target)
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    assert tokenizer.encode("a\u200b  b\u0001").tokens == ["<s>", "▁", "a", "▁", "b", "</s>"]


def test_a_text_gets_the_prompt_once(folders: tuple[Path, Path]) -> None:
    source, target = folders
    write(source / "packed.bin")
    convert("dequantise-e5", source, target)
    prompts = Prompts.of(target)
    assert prompts.before("Wie hoch?") == "query: Wie hoch?"
    assert prompts.before("passage: 330 m") == "passage: 330 m"
    assert Prompts.of(source).before("Wie hoch?") == "Wie hoch?"


@pytest.mark.parametrize(
    ("damage", "said"),
    [(lambda raw: b"GGUF" + raw[4:], "not in the format"), (lambda raw: raw[:90], "too early")],
)
def test_another_file_is_refused(folders: tuple[Path, Path], damage: Damage, said: str) -> None:
    source, target = folders
    write(source / "packed.bin")
    (source / "packed.bin").write_bytes(damage((source / "packed.bin").read_bytes()))
    with pytest.raises(WeightsError, match=said):
        convert("dequantise-e5", source, target)
