"""Writes a BERT encoder as a graph of OpenVINO, from the folder that sentence-transformers reads.

Called by `models.engines.openvino`. Torch is not needed: the operations are those of
`BertModel` (Devlin et al. 2019), and the weights are mapped from `model.safetensors`, so nothing is
converted in advance and nothing on disk can go stale. A folder that holds anything else is refused
with `Unconvertible`; `models.engines.encoders` then takes sentence-transformers.
"""

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as op

from models.engines.reading import Reading
from models.errors import ModelError

Output = Literal["mean", "cls", "score"]
"""What a row is: the mean of the tokens or the first token, of length 1, or a relevance logit."""

_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


class Unconvertible(ModelError):
    """The folder does not hold a model that this module can write as a graph."""


class Weights:
    """The tensors of a safetensors file, mapped into memory. Raises Unconvertible."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(size))
            # OpenVINO wants memory that could be written to. Nobody does, so the pages stay those
            # of the file and are shared by all workers.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        header.pop("__metadata__", None)
        raw = np.frombuffer(self._map, np.uint8, offset=8 + size)
        self._tensors: dict[str, NDArray[Any]] = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if entry["dtype"] == "F32":
                values = raw[begin:end].view(np.float32).reshape(entry["shape"])
                self._tensors[name.removeprefix("bert.")] = values
            elif not name.endswith(_UNUSED):
                raise Unconvertible(f"{name} is {entry['dtype']}, not float32")
        self._unread = set(self._tensors)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._tensors:
            raise Unconvertible(f"no tensor {name}")
        self._unread.discard(name)
        return self._tensors[name]

    def check_all_read(self) -> None:
        """Raise Unconvertible if the file holds weights that the graph does not use."""
        if odd := [name for name in sorted(self._unread) if not name.endswith(_UNUSED)]:
            raise Unconvertible(f"{len(odd)} tensors more than BERT has, such as {odd[0]}")

    def drop_pages(self) -> None:
        """Let the kernel take back what OpenVINO has repacked; what is still read comes back."""
        self._map.madvise(mmap.MADV_DONTNEED)


def bert_graph(
    config: Mapping[str, Any], weights: Weights, output: Output, reading: Reading | None = None
) -> openvino.Model:
    """The graph from ids, types (int32) and mask (bool), each (rows, tokens), to float32 rows.

    The columns of a reading come after the others. Raises Unconvertible.
    """
    _check(config)
    graph = _Bert(config, weights)
    ids = op.parameter([-1, -1], np.int32, "ids")
    types = op.parameter([-1, -1], np.int32, "types")
    mask = op.parameter([-1, -1], np.bool_, "mask")
    hidden = graph.embedded(ids, types)
    read = op.constant(np.float32(0) if reading is None else reading.bias)
    for layer in range(config["num_hidden_layers"]):
        last = layer == config["num_hidden_layers"] - 1
        first_only = last and output != "mean"  # the others' last layer would not be read
        hidden = graph.layer(f"encoder.layer.{layer}", hidden, mask, first_only=first_only)
        if reading is not None and (row := reading.weights.get(layer + 1)) is not None:
            read = op.add(read, graph.read(hidden, row))
    rows = graph.mean(hidden, mask) if output == "mean" else op.squeeze(hidden, _ints(1))
    if output == "score":
        rows = graph.dense("classifier", op.tanh(graph.dense("pooler.dense", rows)))
    else:
        rows = op.normalize_l2(rows, _ints(-1), 1e-24, "max")
    if reading is not None:
        rows = op.concat([rows, read], 1)
    weights.check_all_read()
    return openvino.Model([rows], [ids, types, mask], "bert")


def _check(config: Mapping[str, Any]) -> None:
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for name, value in wanted.items():
        if (found := config.get(name, value)) != value:
            raise Unconvertible(f"{name} is {found}, not {value}")


def _ints(*numbers: int) -> Any:  # noqa: ANN401  OpenVINO's nodes carry no types
    return op.constant(np.array(numbers, np.int64))


class _Bert:
    """The parts of the graph. Their arguments and results are nodes."""

    def __init__(self, config: Mapping[str, Any], weights: Weights) -> None:
        self._weights = weights
        self._hidden: int = config["hidden_size"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]

    def embedded(self, ids: Any, types: Any) -> Any:  # noqa: ANN401
        words, positions, kinds = (
            self._constant(f"embeddings.{kind}_embeddings.weight")
            for kind in ("word", "position", "token_type")
        )
        first = _ints(0)
        length = op.gather(op.shape_of(ids), _ints(1), first)
        place = op.slice(positions, first, length, _ints(1), first)
        both = op.add(op.gather(words, ids, first), op.gather(kinds, types, first))
        return self._norm("embeddings.LayerNorm", op.add(both, place))

    def layer(self, name: str, hidden: Any, mask: Any, *, first_only: bool) -> Any:  # noqa: ANN401
        attended = self._attention(f"{name}.attention.self", hidden, mask)
        if first_only:
            attended, hidden = (
                op.slice(node, _ints(0), _ints(1), _ints(1), _ints(1))
                for node in (attended, hidden)
            )
        attended = self.dense(f"{name}.attention.output.dense", attended)
        hidden = self._norm(f"{name}.attention.output.LayerNorm", op.add(attended, hidden))
        wide = op.gelu(self.dense(f"{name}.intermediate.dense", hidden), "erf")
        narrow = self.dense(f"{name}.output.dense", wide)
        return self._norm(f"{name}.output.LayerNorm", op.add(narrow, hidden))

    def dense(self, name: str, node: Any) -> Any:  # noqa: ANN401
        product = op.matmul(node, self._constant(f"{name}.weight"), False, True)  # noqa: FBT003
        return op.add(product, self._constant(f"{name}.bias"))

    def mean(self, hidden: Any, mask: Any) -> Any:  # noqa: ANN401
        kept = op.unsqueeze(op.convert(mask, "f32"), _ints(2))
        total = op.reduce_sum(op.multiply(hidden, kept), _ints(1))
        return op.divide(total, op.reduce_sum(kept, _ints(1)))

    def read(self, hidden: Any, row: NDArray[np.float32]) -> Any:  # noqa: ANN401
        first = op.squeeze(op.slice(hidden, _ints(0), _ints(1), _ints(1), _ints(1)), _ints(1))
        return op.matmul(first, op.constant(row), False, True)  # noqa: FBT003

    def _attention(self, name: str, hidden: Any, mask: Any) -> Any:  # noqa: ANN401
        shape = _ints(0, 0, self._heads, self._hidden // self._heads)
        swapped = _ints(0, 2, 1, 3)
        query, key, value = (
            op.transpose(op.reshape(self.dense(f"{name}.{part}", hidden), shape, True), swapped)  # noqa: FBT003
            for part in ("query", "key", "value")
        )
        keys = op.unsqueeze(mask, _ints(1, 2))
        attended = op.scaled_dot_product_attention(query, key, value, keys)
        return op.reshape(op.transpose(attended, swapped), _ints(0, 0, self._hidden), True)  # noqa: FBT003

    def _norm(self, name: str, node: Any) -> Any:  # noqa: ANN401
        centred = op.mvn(node, _ints(-1), True, self._epsilon, "inside_sqrt")  # noqa: FBT003
        scaled = op.multiply(centred, self._constant(f"{name}.weight"))
        return op.add(scaled, self._constant(f"{name}.bias"))

    def _constant(self, name: str) -> Any:  # noqa: ANN401
        return openvino.op.Constant(self._weights[name], shared_memory=True)
