"""Switches BentoML's allocation of GPUs off: `services/placing.py` gives each process its own.

Why: BentoML packs only equal fractions onto one GPU. 0.5, 0.1, 0.1 and 0.25 of one GPU give the
devices 0, 1, 1 and 2, of which two do not exist.

Upstream: the variable is BentoML's own (BentoML#4453). BentoML#5443 reports a service that was sent
to a GPU that does not exist.
"""

import os

VARIABLE = "BENTOML_DISABLE_GPU_ALLOCATION"


def install() -> None:
    """Read by BentoML in the supervisor, before it starts a worker."""
    os.environ.setdefault(VARIABLE, "1")
