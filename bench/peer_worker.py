"""One encoder library, in an environment of its own, that `bench.encoders` asks over a pipe.

Run by `bench.peers.library` as `python peer_worker.py LIBRARY EMBEDDER RERANKER THREADS`; imports
nothing of ours. Reads a line of JSON for each call, and answers one with the float32 of the result.
`export` writes both models as ONNX into the given folders, for a library that cannot convert them.
"""

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Ask = Callable[[str, Sequence[str]], object]
"""`embed` or `rerank`, for which the first text is the query: rows, or one score a text."""


def onnx(embedder: str, reranker: str, threads: int) -> Ask:
    """sentence-transformers on ONNX Runtime."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    return _sentence_transformers("onnx", embedder, reranker, {"session_options": options})


def openvino(embedder: str, reranker: str, threads: int) -> Ask:
    """sentence-transformers on OpenVINO."""
    config = {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32"}
    return _sentence_transformers("openvino", embedder, reranker, {"ov_config": config})


def _sentence_transformers(
    backend: str, embedder: str, reranker: str, how: dict[str, Any], save: Sequence[str] = ()
) -> Ask:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    common: dict[str, Any] = {"backend": backend, "device": "cpu", "model_kwargs": how}
    embeds = SentenceTransformer(embedder, **common)
    judges = CrossEncoder(reranker, **common)
    limits = embeds.max_seq_length, judges.max_seq_length
    for model, tokens, folder in zip((embeds, judges), limits, save, strict=False):
        model.save_pretrained(folder)
        _read_as_much(folder, tokens)

    def ask(task: str, texts: Sequence[str]) -> object:
        if task == "embed":
            return embeds.encode(list(texts), normalize_embeddings=True)
        pairs = [(texts[0], text) for text in texts[1:]]
        return judges.predict(pairs, activation_fn=torch.nn.Sigmoid())

    return ask


def _read_as_much(folder: str, tokens: int) -> None:
    """For fastembed, which knows a model's limit by its tokenizer: that may have a lower one."""
    path = Path(folder, "tokenizer_config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"model_max_length": tokens, "max_length": tokens}
    path.write_text(json.dumps(config), encoding="utf-8")


def fastembed(embedder: str, reranker: str, threads: int) -> Ask:
    """fastembed, on the files that `export` wrote."""
    import numpy as np
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    common: dict[str, Any] = {"model_file": "onnx/model.onnx", "sources": ModelSource(hf="none")}
    TextEmbedding.add_custom_model(
        "bench/embedder", pooling=PoolingType.MEAN, normalization=True, dim=384, **common
    )
    TextCrossEncoder.add_custom_model("bench/reranker", **common)
    embeds = TextEmbedding("bench/embedder", specific_model_path=embedder, threads=threads)
    judges = TextCrossEncoder("bench/reranker", specific_model_path=reranker, threads=threads)

    def ask(task: str, texts: Sequence[str]) -> object:
        if task == "embed":
            return np.stack(list(embeds.embed(list(texts))))
        logits = np.asarray(list(judges.rerank(texts[0], list(texts[1:]))))
        return 1 / (1 + np.exp(-logits))

    return ask


LIBRARIES = {"onnx": onnx, "openvino": openvino, "fastembed": fastembed}


def main() -> None:
    """Answer until the pipe is closed."""
    import numpy as np

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    library, embedder, reranker, rest = sys.argv[1:5]
    if library == "export":
        _sentence_transformers("onnx", embedder, reranker, {}, rest.split(os.pathsep))
        return
    ask = LIBRARIES[library](embedder, reranker, int(rest))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        task, texts = json.loads(line)
        found = np.ascontiguousarray(ask(task, texts), dtype=np.float32)
        data = base64.b64encode(found.tobytes()).decode()
        print(json.dumps([found.shape, data]), file=answers, flush=True)


if __name__ == "__main__":
    main()
