"""`python -m models.engines.embed_file MODEL_DIR TEXTS.json VECTORS.npy`: embed many texts at once.

Started by `tiffin router train`, in a process of its own: the application runs no model.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer


def main(directory: str, texts: str, vectors: str) -> None:
    """Write one L2-normalised float32 row a text, in the order of the texts."""
    model = SentenceTransformer(directory)
    rows = model.encode(
        json.loads(Path(texts).read_text()),
        batch_size=64,
        normalize_embeddings=True,
        show_progress_bar=True,
    )
    np.save(vectors, np.asarray(rows, np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
