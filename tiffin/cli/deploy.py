"""`tiffin deploy`: services that run apart, on this machine or rendered for a platform."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from tiffin.config.scaling import Scaling
from tiffin.config.services import ENTRY, Signal
from tiffin.config.settings import Settings, load_settings
from tiffin.config.topology import check_service, dependencies, sleepers
from tiffin.deploy import alone
from tiffin.deploy.errors import DeployError
from tiffin.deploy.haproxy import PLACES
from tiffin.deploy.local import LocalDeployment, first_desire, free_port, running_balancer
from tiffin.deploy.render import TARGETS, write
from tiffin.deploy.render.plan import Plan
from tiffin.deploy.simulation.queueing import Simulation, Work
from tiffin.deploy.simulation.report import HEADINGS, Finding, plot
from tiffin.deploy.simulation.traces import TRACES, read_log
from tiffin.deploy.state import Desired, StateFolder


@click.group()
def deploy() -> None:
    """Run services apart, scale each alone, render for a platform, simulate."""


@deploy.command()
@click.argument("service", envvar="BENTOML_SERVE_SERVICE_NAME")
@click.option(
    "--depends",
    multiple=True,
    envvar="BENTOML_SERVE_DEPENDS",
    metavar="NAME=URL",
    help="Where a service that this one calls is reached; once for each.",
)
@click.option("--host", default="0.0.0.0", envvar="BENTOML_HOST", show_default=True)  # noqa: S104
@click.option("--port", default=3000, envvar="BENTOML_PORT", show_default=True)
@click.option(
    "--wait-s",
    default=300.0,
    show_default=True,
    help="How long the services that it calls may take to answer.",
)
def start(service: str, depends: tuple[str, ...], host: str, port: int, wait_s: float) -> None:
    """Start SERVICE alone, in this process, once the services that it calls are there."""
    settings = load_settings()
    addresses = alone.check_addresses(service, depends, settings)
    token = alone.check_token(settings)
    asyncio.run(alone.await_services(addresses, token, wait_s, sleepers(settings)))
    command = alone.start_command(service, addresses, host, port)
    os.chdir(alone.SOURCE)
    os.execv(command[0], command)  # noqa: S606  our own interpreter, with checked words


@deploy.command()
@click.option("--local", is_flag=True, required=True, help="On this machine, behind haproxy.")
@click.option("--replicas", multiple=True, metavar="NAME=COUNT", help="1 each unless given.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Of the entry service.")
@click.option("--port", default=3000, show_default=True, help="Of the entry service.")
def up(*, local: bool, replicas: tuple[str, ...], host: str, port: int) -> None:
    """Run every service in processes of its own until interrupted."""
    del local
    settings = load_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    services = dependencies(settings)
    counts = dict(_count(word, settings) for word in replicas)
    state = _state(settings)
    with contextlib.suppress(DeployError):
        running = state.read_status()
        message = f"a local deployment runs already (pid {running.pid}) in {state.folder}"
        raise click.ClickException(message)
    state.write(first_desire(services, counts))
    asyncio.run(_up(services, state, settings, (host, port)))


@deploy.command()
@click.argument("counts", nargs=-1, required=True, metavar="NAME=COUNT...")
@click.option("--wait-s", default=300.0, show_default=True)
def scale(counts: tuple[str, ...], wait_s: float) -> None:
    """Change how many replicas of a service the local deployment has."""
    settings = load_settings()
    state = _state(settings)
    state.read_status()
    services = dict(state.read_desired().services)
    for name, count in (_count(word, settings) for word in counts):
        services[name] = msgspec.structs.replace(services[name], replicas=count)
    _make_so(state, Desired(services), wait_s)


@deploy.command()
@click.argument("service")
@click.option("--bento", help="The new version: a Bento's tag. Without it, what runs now.")
@click.option("--set", "variables", multiple=True, metavar="TIFFIN_NAME=VALUE")
@click.option("--wait-s", default=300.0, show_default=True)
def rollout(service: str, bento: str | None, variables: tuple[str, ...], wait_s: float) -> None:
    """Replace the replicas of one service one by one, by another Bento or other settings.

    Run it again with what was before to roll back.
    """
    settings = load_settings()
    check_service(service, settings)
    state = _state(settings)
    state.read_status()
    services = dict(state.read_desired().services)
    before = services[service]
    services[service] = msgspec.structs.replace(
        before,
        revision=before.revision + 1,
        bento=bento or before.bento,
        environment=dict(word.split("=", 1) for word in variables if "=" in word)
        or before.environment,
    )
    _make_so(state, Desired(services), wait_s)


@deploy.command()
def status() -> None:
    """Show the replicas of the local deployment."""
    current = _state(load_settings()).read_status()
    table = Table("service", "address", "pid", "port", "revision", "state")
    for name, replicas in current.services.items():
        for replica in replicas:
            cells = (replica.pid, replica.port, replica.revision, replica.state)
            table.add_row(name, current.addresses[name], *map(str, cells))
    Console(width=None if Console().is_terminal else 120).print(table)


@deploy.command()
@click.option("--target", type=click.Choice(list(TARGETS)), required=True)
@click.option("--image", default="tiffin:latest", show_default=True, help="The container image.")
@click.option("--bento", default="tiffin:latest", show_default=True, help="The Bento's tag.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
def render(target: str, image: str, bento: str, output: Path) -> None:
    """Write a platform's files from the scaling specification of the profile."""
    for path in write(target, Plan(load_settings(), image, bento), output):
        click.echo(path)


@deploy.command()
@click.argument("service")
@click.option("--trace", type=click.Choice(list(TRACES)), default="bursts", show_default=True)
@click.option(
    "--log",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV file of your own instead: column `seconds`, or `timestamp` in ISO 8601.",
)
@click.option("--rate", default=2.0, show_default=True, help="Requests a second, of --trace.")
@click.option("--duration-s", default=3600.0, show_default=True, help="Of --trace.")
@click.option("--slo-s", default=1.0, show_default=True, help="An answer later than this misses.")
@click.option("--service-s", type=float, help="Of one request alone; else the profile's.")
@click.option("--seed", default=0, show_default=True)
def simulate(
    *, service: str, trace: str, log: Path | None, rate: float, duration_s: float, slo_s: float,
    service_s: float | None, seed: int,
) -> None:  # fmt: skip
    """Replay a trace against the scaling of SERVICE, once on each of its signals and on all.

    A service that may have no replica is tried once more with one that never leaves.
    """
    settings = load_settings()
    check_service(service, settings)
    scaling = Plan(settings, image="").services[service]
    arrivals = read_log(log) if log else TRACES[trace](rate, duration_s, seed)
    work = Work(
        service_s or scaling.service_s,
        scaling.spread,
        scaling.parallel,
        scaling.batch,
        scaling.marginal,
    )
    findings = [
        Finding(name, Simulation(arrivals, work, how, signals, seed=seed).run(), slo_s, how)
        for name, how, signals in _ways(scaling)
    ]
    table = Table(*HEADINGS, title=f"{service}: {len(arrivals)} requests")
    for finding in findings:
        table.add_row(*finding.cells())
    Console(width=None if Console().is_terminal else 140).print(table)
    for finding in findings:
        click.echo(f"\nscaled on {finding.name}\n{plot(finding.outcome.moments)}")


def _ways(scaling: Scaling) -> Iterator[tuple[str, Scaling, tuple[Signal, ...]]]:
    """The ways of scaling that a simulation compares: name, how, on which signals."""
    everything = tuple(scaling.signals)
    for alone_on in everything:
        yield alone_on, scaling, (alone_on,)
    if len(everything) > 1:
        yield "all of them", scaling, everything
    if scaling.min == 0:
        yield "all, min: 1", scaling.model_copy(update={"min": 1}), everything


async def _up(
    services: dict[str, tuple[str, ...]],
    state: StateFolder,
    settings: Settings,
    entry: tuple[str, int],
) -> None:
    binds = {name: ("127.0.0.1", free_port()) for name in services} | {ENTRY: entry}
    addresses = {name: f"http://{host}:{port}" for name, (host, port) in binds.items()}
    token = settings.internal.token_text() or secrets.token_urlsafe(32)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  inside of a coroutine there is one
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with running_balancer(binds, state.folder) as balancer:
            await LocalDeployment(state, addresses, services, balancer, token).run()


def _make_so(state: StateFolder, desired: Desired, wait_s: float) -> None:
    state.write(desired)
    deadline = time.monotonic() + wait_s
    while not state.read_status().is_as(desired):
        if time.monotonic() > deadline:
            where = f"see `tiffin deploy status` and the logs in {state.folder}"
            message = f"not done after {wait_s:.0f} s; {where}"
            raise DeployError(message)
        time.sleep(0.1)
    click.echo("done", err=True)


def _state(settings: Settings) -> StateFolder:
    return StateFolder(Path(settings.home) / "deployments" / "local")


def _count(word: str, settings: Settings) -> tuple[str, int]:
    name, _, count = word.partition("=")
    check_service(name, settings)
    if not count.isdigit() or int(count) > PLACES:
        message = f"{word}: give NAME=COUNT with a count of 0 to {PLACES}"
        raise DeployError(message)
    return name, int(count)
