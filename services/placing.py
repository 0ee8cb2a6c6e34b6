"""Which GPUs each service gets: the supervisor and every worker work out the same plan.

The supervisor does so before anything is fetched, so that a plan that cannot fit ends the start
with one line; a worker takes its own place before it loads CUDA.
"""

import functools
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import bentoml

from models.errors import CatalogError, PlacementError
from models.placement import launch
from models.placement.advice import plan_or_advise
from models.placement.hardware import detect_gpus, mps_runs
from models.placement.planner import Placement, Plan
from models.user_catalog import catalog_of
from services.hosting import fetch_weights, logger, settings
from tiffin.config.placement import workloads

ONLY_SERVICE = "BENTOML_SERVE_SERVICE_NAME"
"""Set if a process group runs one service of a Bento: the GPUs it sees belong to that service."""


@functools.cache
def plan() -> Plan | None:
    """The plan of this start; None without a GPU. If the models cannot fit, the start ends."""
    try:
        gpus = detect_gpus()
        if not gpus:
            return None
        works = workloads(settings, catalog_of(settings.home))
        if only := os.environ.get(ONLY_SERVICE):
            works = [work for work in works if work.service == only]
        made = plan_or_advise(works, gpus)
    except (PlacementError, CatalogError) as error:
        raise SystemExit(f"tiffin: {error}") from None
    if any(made.shares(gpu) for gpu in gpus) and not mps_runs():
        logger.warning("no MPS daemon runs here: models that share a GPU take turns")
    return made


def fetching(model: str | None) -> "staticmethod[[], None]":
    """The hook that makes the plan and fetches a service's weights before a worker starts."""

    def fetch() -> None:
        if model is not None:
            plan()
            fetch_weights(model)

    hook: staticmethod[[], None] = bentoml.on_deployment(fetch)
    return hook


def take_place(service: str) -> Placement | None:
    """Let this process see its own GPUs only. Called before CUDA is loaded."""
    made = plan()
    placed = made.of(service) if made is not None else None
    if made is None or placed is None:
        return None
    shared = any(made.shares(gpu) for gpu in placed.gpus)
    os.environ.update(launch.environment(placed, shared=shared))
    logger.info(
        "%s: GPU %s, share %.0f%%: %s",
        service,
        os.environ["CUDA_VISIBLE_DEVICES"],
        placed.share * 100,
        placed.why,
    )
    return placed


def turn(placed: Placement | None) -> ExitStack:
    """Wait until nothing else loads on these GPUs, or on the CPU; closing it lets the next one."""
    devices = [gpu.device for gpu in placed.gpus] if placed else []
    return launch.turn(settings.home, devices)


@contextmanager
def measured(placed: Placement | None) -> Generator[launch.Budget | None, None, None]:
    """Give an engine its budget while it loads; afterwards log what it took."""
    if placed is None:
        yield None
        return
    before = launch.least_free(placed)
    yield launch.budget(placed)
    launch.compare(placed, before)


@contextmanager
def encoder(service: str) -> Generator[None, None, None]:
    """Load an encoder in its turn. On a CPU it needs none: it sizes nothing by what is free."""
    placed = take_place(service)
    if placed is None:
        yield
        return
    with turn(placed), measured(placed):
        yield
