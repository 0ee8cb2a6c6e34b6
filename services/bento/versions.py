"""Guards the seams: the versions that they are tested with, and the names that they replace.

Another version is a warning, because whoever needs a security fix of BentoML must be able to take
it. A name that is gone ends the start: the seam would have no effect, and nobody would notice.
"""

import logging
from importlib.metadata import version

logger = logging.getLogger("bentoml.service.tiffin")

TESTED = {
    "bentoml": ("1.4.39", "1.4.40"),
    "kantoku": ("0.18.3",),  # BentoML's fork of circus
    "opentelemetry-instrumentation-asgi": ("0.66b1",),
    "uvicorn": ("0.54.0",),
}


def is_tested(package: str) -> bool:
    """Whether the package is installed in a version that the seams are tested with."""
    return version(package) in TESTED[package]


def check() -> None:
    """Warn of packages that are installed in another version."""
    for package, tested in TESTED.items():
        if not is_tested(package):
            logger.warning(
                "%s %s is installed; Tiffin is tested with %s, and replaces parts of it",
                package,
                version(package),
                " and ".join(tested),
            )


def replace(owner: object, name: str, ours: object) -> None:
    """Put ours in the place of what an upstream module or class calls by this name."""
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", owner)
        tested = ", ".join(f"{package} {known[-1]}" for package, known in TESTED.items())
        raise SystemExit(f"tiffin: {where} has no {name}; Tiffin is tested with {tested}")
    setattr(owner, name, ours)
