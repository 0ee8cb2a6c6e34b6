"""What all services share: settings, weights, resources, and our apps in front of BentoML's.

Imported first by every service, in the supervisor and in each worker process.
"""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bentoml
import psutil

from models.errors import CatalogError, WeightsError
from models.store import Store
from models.user_catalog import catalog_of
from services.bento import bento_yaml, gpus, logs, request_metrics, seams
from services.bento.models import CatalogModel, shipped_folder
from tiffin.cli.start import is_shown
from tiffin.config.access import check_address
from tiffin.config.settings import Settings, SettingsError, check_models, load_settings
from tiffin.lifecycle import memory
from tiffin.lifecycle.supervision import DIRECTORY_VARIABLE, beat
from tiffin.routing.assembly import fleet_of
from tiffin.telemetry import tracing
from tiffin.transport import wire
from tiffin.transport.dispatcher import Dispatcher
from tiffin.transport.server import RpcApp

logger = logging.getLogger("bentoml.service.tiffin")

if _profile := bento_yaml.profile():
    os.environ.setdefault("TIFFIN_PROFILE", _profile)


def _load() -> Settings:
    """The settings; a mistake in them ends the start with one line."""
    try:
        settings = load_settings()
        check_models(settings, catalog_of(settings.home))
        fleet_of(settings)
    except (SettingsError, CatalogError) as error:
        raise SystemExit(f"tiffin: {error}") from None
    return settings


settings = _load()

logs.install(settings.logs)
gpus.install()
seams.install(settings.limits)

IN_WORKER = DIRECTORY_VARIABLE in os.environ
"""Whether this process serves. If not, it starts those that do, or builds a Bento."""

tempfile.gettempdir()  # chosen now: one that is full when it is first needed would be passed over

if not IN_WORKER:
    from services.bento import metrics_folder, supervisor

    metrics_folder.install()
    supervisor.install(settings.resilience.supervision)

_beating: set["asyncio.Task[None]"] = set()

REQUEST_TIMEOUT_S = 900.0
"""BentoML's own limit on a request: above every deadline of ours, which ends it first and typed."""


def resources(*, cpu: str, memory: str, gpus: float) -> dict[str, Any]:
    """A service's resources as BentoML declares them; to it, 0 GPUs are not the same as none."""
    return {"cpu": cpu, "memory": memory} | ({"gpu": gpus} if gpus else {})


NO_ACCESS_LOG = {"access": {"enabled": False}}
"""BentoML writes none: the entry service's own says more (`tiffin.api.middleware.access_log`)."""


def inner(*, cpu: str, memory: str, gpus: float = 0, concurrency: int) -> dict[str, Any]:
    """What BentoML is told of an inner service."""
    return {
        "resources": resources(cpu=cpu, memory=memory, gpus=gpus),
        "traffic": {"timeout": REQUEST_TIMEOUT_S, "concurrency": concurrency},
        "logging": NO_ACCESS_LOG,
    }


def rpc_app(service: str, *, max_in_flight: int) -> RpcApp:
    """The internal methods of a service."""
    return RpcApp(
        service,
        max_body_bytes=2 * settings.limits.body_bytes,
        max_in_flight=max_in_flight,
        token=settings.internal.token_text(),
    )


def serve_rpc(service: "bentoml.Service[Any]") -> None:
    """Put the internal methods in front of a service's BentoML routes, and count their paths."""
    rpc: RpcApp = service.inner.rpc
    service.add_asgi_middleware(Dispatcher, front=rpc, owns=_is_internal)
    request_metrics.counted.append(rpc.paths)


def _is_internal(_: str, path: str) -> bool:
    return path.startswith(wire.PREFIX)


_store = Store(settings.home, shipped=shipped_folder)


def bento_model(model: str | None) -> CatalogModel | None:
    """What a service declares so that a Bento carries the weights of its model, if it has one."""
    if model is None:
        return None
    entry = catalog_of(settings.home).get(model)

    def fetch() -> Path:
        fetch_weights(model)
        return weights(model)

    return CatalogModel(entry, fetch)


def fetch_weights(model: str) -> None:
    """Download and verify a model unless it is there already. Called once, before workers start."""
    from tiffin.cli.progress import pull_shown  # not in the workers

    try:
        entry = catalog_of(settings.home).get(model)
        if not (is_shown() and _store.is_present(entry)):
            pull_shown(_store, entry)
    except WeightsError as error:
        raise SystemExit(f"tiffin: {error}") from None


def weights(model: str) -> Path:
    """The folder of a model's files."""
    return _store.path(catalog_of(settings.home).get(model))


def log_loaded(service: str, began: float) -> None:
    """Log when an engine loaded, by the machine's monotonic clock, which all processes share."""
    logger.info("%s: loaded from %.2f to %.2f", service, began, time.monotonic())


def check_access(hosts: Sequence[str]) -> None:
    """End the start with one line if strangers could reach a host and no key is required."""
    try:
        for host in hosts:
            check_address(settings.access, host)
    except SettingsError as error:
        raise SystemExit(f"tiffin: {error}") from None


def log_ready(service: str) -> None:
    """Log how long this process took until it could serve, and how much memory it holds.

    From here on it traces, and sends the supervisor its heartbeat. Needs a running event loop.
    """
    tracing.start(settings.tracing, service)
    if directory := os.environ.get(DIRECTORY_VARIABLE):
        signs = beat(Path(directory), settings.resilience.supervision)
        _beating.add(asyncio.get_running_loop().create_task(signs))
    memory.settle()
    process = psutil.Process()
    took_s = time.time() - process.create_time()
    logger.info(
        "%s is ready after %.1f s, %d MiB", service, took_s, process.memory_info().rss >> 20
    )
