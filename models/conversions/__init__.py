"""Recipes that convert the files of a source into the files that an engine opens.

Called by `models.store`. Each recipe is a module with one function from a folder to a folder; it
imports its libraries only when it is used.
"""

from pathlib import Path
from typing import assert_never

from models.catalog import Recipe


def convert(recipe: Recipe, source: Path, target: Path) -> None:
    """Run a recipe on the files in `source` and write the result into `target`."""
    if recipe == "dequantise-onnx-bert":
        from models.conversions import onnx_bert

        onnx_bert.dequantise(source, target)
    elif recipe == "dequantise-gguf":
        from models.conversions import gguf

        gguf.dequantise(source, target)
    elif recipe == "dequantise-e5":
        from models.conversions import e5

        e5.dequantise(source, target)
    elif recipe == "widen-qwen2-gguf":
        from models.conversions import widen

        widen.widen(source, target)
    else:
        assert_never(recipe)
