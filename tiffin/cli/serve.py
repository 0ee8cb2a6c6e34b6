"""`tiffin serve`: fetch what is missing and start everything, by BentoML, with a start to read.

The process becomes `bentoml serve`, so that signals, logs and exit codes are BentoML's.
"""

import os
import socket
import sys
from pathlib import Path

import click

from models.catalog import Model
from models.errors import WeightsError
from models.store import Store
from models.user_catalog import catalog_of
from tiffin import SOURCE, __version__
from tiffin.cli.as_json import json_option
from tiffin.cli.progress import MB, pull_shown
from tiffin.cli.start import Start
from tiffin.config.access import check_address
from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings, check_models, load_settings, variables
from tiffin.config.topology import dependencies

LOOPBACK = "127.0.0.1"
MBIT_PER_S = 50


@click.command()
@click.option("--host", default=LOOPBACK, envvar="BENTOML_HOST", show_default=True)
@click.option(
    "--port",
    default=3000,
    type=click.IntRange(1, 65_535),
    envvar="BENTOML_PORT",
    show_default=True,
)
@click.option("--profile", help="What to run; by default, what fits the GPUs of this machine.")
@click.option("--verbose", is_flag=True, help="Show BentoML's log and all settings.")
@json_option
def serve(*, host: str, port: int, profile: str | None, verbose: bool, as_json: bool) -> None:
    """Fetch the weights that are missing, and serve everything on one port.

    With --json, the first line of stdout is an object: when it was ready, or why it cannot begin.
    """
    settings = load_settings(profile=profile) if profile else load_settings()
    catalog = catalog_of(settings.home)
    check_models(settings, catalog)
    check_address(settings.access, host)
    check_port(host, port)
    click.echo(summary(settings), err=True)
    fetch(settings.home, [catalog.get(name) for name in settings.models()])
    os.environ["TIFFIN_PROFILE"] = settings.profile
    if not verbose:
        os.environ.update(_start(settings, host, port, as_json=as_json).to_environment())
    if settings.access.keys_file is not None:  # a relative path is meant from here
        os.environ["TIFFIN_ACCESS__KEYS_FILE"] = str(settings.access.keys_file.absolute())
    os.chdir(SOURCE)
    words = ["-m", "bentoml", "serve", "service:RAG", "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  our own interpreter


def summary(settings: Settings) -> str:
    """One line: the version, the profile, and the variables that differ from it."""
    known = variables()
    named = [name for name in sorted(os.environ) if name in known and name != "TIFFIN_PROFILE"]
    secret = ("TOKEN", "LEDGER", "PROVIDERS")
    shown = [
        f"{name}={'...' if name.endswith(secret) else os.environ[name][:40]}" for name in named
    ]
    return ", ".join([f"Tiffin {__version__}, profile {settings.profile}", *shown])


def check_port(host: str, port: int) -> None:
    """Raise SettingsError if something listens there, or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {reason}; choose another port with --port"
        ) from None


def fetch(home: Path, models: list[Model]) -> None:
    """Fetch what is missing, and say before how much that is. Raises WeightsError."""
    store = Store(home)
    missing = [model for model in models if not store.is_present(model)]
    if not missing:
        return
    size_mb = sum(model.size_bytes for model in missing) / MB
    minutes = max(1, round(size_mb * 8 / MBIT_PER_S / 60))
    click.echo(
        f"Fetching {len(missing)} models, {size_mb:,.0f} MB, once, to {home}"
        f" (about {minutes} min at {MBIT_PER_S} Mbit/s)",
        err=True,
    )
    try:
        for model in missing:
            pull_shown(store, model)
    except OSError as error:
        raise WeightsError(f"{home}: {error.strerror}; TIFFIN_HOME names another") from None


def _start(settings: Settings, host: str, port: int, *, as_json: bool) -> Start:
    models = {service.name: section.model for service, section in settings.with_models()}
    shown = "localhost" if host in (LOOPBACK, "0.0.0.0", "::") else host  # noqa: S104
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    return Start(
        url=url,
        models={name: models.get(name, "") for name in dependencies(settings)},
        tiers={name: tier.model for name, tier in settings.tiers.items()},
        as_json=as_json,
    )
