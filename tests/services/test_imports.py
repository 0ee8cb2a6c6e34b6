"""What every process of a composition imports, whichever of the services it runs."""

import subprocess
import sys

import pytest

from tests.support.stack import ROOT

APPLICATION = ("tiffin.composition", "tiffin.gateway", "tiffin.api.app", "fastapi", "aiohttp")
HEAVY = ("torch", "transformers", "pandas", "pyarrow", "lancedb", "scipy", "sklearn", "openvino")


@pytest.mark.slow
def test_a_service_imports_neither_the_application_nor_another_ones_engine() -> None:
    program = f"import service, sys; print([m for m in {APPLICATION + HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
