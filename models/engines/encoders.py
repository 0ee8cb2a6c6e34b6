"""Chooses the engine of an encoder: OpenVINO on a CPU, sentence-transformers on a GPU.

Called by the two encoder services and by `lab`. A model that OpenVINO's graph does not cover runs
by sentence-transformers on a CPU too, and the log says why. Torch is imported only then.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.engines.tokens import Device, Text
from models.placement.hardware import detect_gpus

if TYPE_CHECKING:
    from models.engines.protocol import EncoderEngine

logger = logging.getLogger("bentoml.service.tiffin")


def embedder(
    model_dir: Path, *, device: Device = "auto", threads: int
) -> "EncoderEngine[Text, Any]":
    """The engine of an embedding model; see `Embedder` of either module."""
    engine: EncoderEngine[Text, Any] | None
    if (engine := _on_openvino("Embedder", model_dir, device, threads)) is None:
        from models.engines.sentence_transformers import Embedder

        engine = Embedder(model_dir, device=device, threads=threads)
    return engine


def scorer(
    model_dir: Path, *, device: Device = "auto", threads: int
) -> "EncoderEngine[tuple[str, str], Any]":
    """The engine of a cross-encoder; see `CrossEncoderScorer` of either module."""
    engine: EncoderEngine[tuple[str, str], Any] | None
    if (engine := _on_openvino("CrossEncoderScorer", model_dir, device, threads)) is None:
        from models.engines.sentence_transformers import CrossEncoderScorer

        engine = CrossEncoderScorer(model_dir, device=device, threads=threads)
    return engine


def _on_openvino(name: str, model_dir: Path, device: Device, threads: int) -> Any:  # noqa: ANN401
    """The engine of that name; None on a GPU, or if the model cannot be written as a graph."""
    if device == "cuda" or (device == "auto" and detect_gpus()):
        return None
    from models.engines import bert_graph, openvino

    try:
        return getattr(openvino, name)(model_dir, threads=threads)
    except bert_graph.Unconvertible as error:
        logger.info("%s runs by sentence-transformers on the CPU: %s", model_dir.name, error)
        return None
