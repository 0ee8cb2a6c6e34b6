"""Recipe dequantise-onnx-bert: an int8 ONNX cross-encoder becomes a float32 BERT folder.

Dynamic quantisation picks one scale for all activations of a batch, so a score depends on the rest
of the batch. Dequantised weights give scores that do not. The result is a dequantised copy, not the
original float32 weights. The same input gives the same bytes.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError

if TYPE_CHECKING:
    from onnx import GraphProto

Tensors = dict[str, NDArray[np.float32]]

HEAD_WIDTH = 32
"""Width of an attention head in every MiniLM, because the graph does not contain it."""

QUANTIZED = "_quantized"


def dequantise(source: Path, target: Path) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer found next to `model.onnx`."""
    import onnx
    from safetensors.numpy import save_file

    tensors = bert_tensors(onnx.load(source / "model.onnx").graph)
    config = bert_config(tensors)
    _check_names(tensors, layers=int(str(config["num_hidden_layers"])))
    for file in sorted(source.iterdir()):
        if file.name != "model.onnx":
            shutil.copyfile(file, target / file.name)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (target / "config.json").write_text(text, encoding="utf-8")
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})


def bert_tensors(graph: "GraphProto") -> Tensors:
    """Every weight of the graph in float32, named as in BertForSequenceClassification."""
    from onnx import numpy_helper

    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    tensors: Tensors = {
        name: value
        for name, value in stored.items()
        if name.endswith((".bias", ".weight")) and value.dtype == np.float32
    }
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0].endswith(QUANTIZED):
            name = node.input[0].removesuffix(QUANTIZED)
            tensors[name] = _multiplied_out(stored, node.input[0])
        elif node.op_type == "MatMulInteger":
            # The path of the node is the path of the module; `x @ W` holds the transpose of
            # what torch calls the weight.
            module = node.name.strip("/").rpartition("/")[0].replace("/", ".")
            weight = _multiplied_out(stored, node.input[1]).T
            tensors[f"{module}.weight"] = np.ascontiguousarray(weight)
    return tensors


def _multiplied_out(
    stored: Mapping[str, NDArray[np.generic]], quantized: str
) -> NDArray[np.float32]:
    name = quantized.removesuffix(QUANTIZED)
    value, zero = stored[quantized], stored[f"{name}_zero_point"]
    steps = value.astype(np.int32) - zero.astype(np.int32)
    return steps.astype(np.float32) * stored[f"{name}_scale"].astype(np.float32)


def bert_config(tensors: Tensors) -> dict[str, object]:
    """Read the architecture from the shapes."""
    layers = {int(found[1]) for name in tensors if (found := re.search(r"\.layer\.(\d+)\.", name))}
    vocabulary, hidden = tensors["bert.embeddings.word_embeddings.weight"].shape
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": hidden // HEAD_WIDTH,
        "intermediate_size": tensors["bert.encoder.layer.0.intermediate.dense.bias"].shape[0],
        "max_position_embeddings": tensors["bert.embeddings.position_embeddings.weight"].shape[0],
        "type_vocab_size": tensors["bert.embeddings.token_type_embeddings.weight"].shape[0],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        # CrossEncoder would apply a sigmoid to a single label; ranking needs the logit.
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
    }


def _check_names(tensors: Tensors, layers: int) -> None:
    """Refuse a graph with more or fewer weights than the architecture has."""
    dense = ("attention.self.query", "attention.self.key", "attention.self.value",
             "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense",
             "output.dense", "output.LayerNorm")  # fmt: skip
    modules = [f"bert.encoder.layer.{layer}.{part}" for layer in range(layers) for part in dense]
    modules += ["bert.embeddings.LayerNorm", "bert.pooler.dense", "classifier"]
    wanted = {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    wanted |= {f"bert.embeddings.{kind}_embeddings.weight"
               for kind in ("word", "position", "token_type")}  # fmt: skip
    if odd := wanted ^ tensors.keys():
        message = f"model.onnx is not a BERT cross-encoder: {len(odd)} weights differ: {min(odd)}"
        raise WeightsError(message)
