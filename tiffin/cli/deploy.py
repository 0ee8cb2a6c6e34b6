"""`tiffin deploy`: start one service alone, render files for a platform, simulate scaling."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tiffin import SOURCE
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.cluster import KUBERNETES, check_target, cluster_of, cluster_options
from tiffin.cli.progress import print_table
from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal
from tiffin.config.settings import load_settings
from tiffin.config.topology import check_service, sleepers
from tiffin.deploy import alone
from tiffin.deploy.render import TARGETS, save, write
from tiffin.deploy.render.cluster import Cluster
from tiffin.deploy.render.helm import chart
from tiffin.deploy.render.network import notes
from tiffin.deploy.render.plan import Plan
from tiffin.deploy.simulation.queueing import Simulation, Work
from tiffin.deploy.simulation.report import HEADINGS, Finding, plot
from tiffin.deploy.simulation.traces import TRACES, read_log


@click.group()
def deploy() -> None:
    """Start one service alone, render files for a platform, simulate scaling."""


@deploy.command()
@click.argument("service", envvar="BENTOML_SERVE_SERVICE_NAME")
@click.option(
    "--depends",
    multiple=True,
    envvar="BENTOML_SERVE_DEPENDS",
    metavar="NAME=URL",
    help="Where a service that this one calls is reached. Give one for each of them.",
)
@click.option("--host", default="0.0.0.0", envvar="BENTOML_HOST", show_default=True)  # noqa: S104
@click.option("--port", default=3000, envvar="BENTOML_PORT", show_default=True)
@click.option(
    "--wait-s",
    default=300.0,
    show_default=True,
    help="How long to wait until the services that it calls answer.",
)
@json_option
def start(
    service: str, depends: tuple[str, ...], host: str, port: int, wait_s: float, *, as_json: bool
) -> None:
    """Start SERVICE alone, in this process, once the services that it calls answer.

    With --json, a start that fails says why as JSON.
    """
    del as_json  # what it serves has nothing to print
    settings = load_settings()
    addresses = alone.check_addresses(service, depends, settings)
    token = alone.check_token(settings)
    asyncio.run(alone.await_services(addresses, token, wait_s, sleepers(settings)))
    command = alone.start_command(service, addresses, host, port)
    os.chdir(SOURCE)
    os.execv(command[0], command)  # noqa: S606  our own interpreter, with checked words


@deploy.command()
@click.option("--target", type=click.Choice(list(TARGETS)), required=True)
@click.option("--image", default="tiffin:latest", show_default=True, help="The container image.")
@click.option("--bento", default="tiffin:latest", show_default=True, help="The Bento's tag.")
@click.option("--name", default="tiffin", show_default=True, help="The release's name.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@cluster_options
@json_option
def render(
    *, target: str, image: str, bento: str, name: str, output: Path, as_json: bool,
    **flags: Any,  # noqa: ANN401  read by `tiffin.cli.cluster`
) -> None:  # fmt: skip
    """Write the files of a platform from the `scaling` of the profile.

    The settings that variables make here go with them. The options from --namespace on are for
    Kubernetes.
    """
    check_target(target, flags)
    settings = load_settings()
    cluster = cluster_of(name, flags) if target == KUBERNETES else Cluster()
    plan = Plan(settings, image, bento, name, cluster)
    written = list(write(target, plan, output))
    if flags["helm"] is not None:
        written += save(chart(plan), flags["helm"])
    remarks = list(notes(plan)) if target == KUBERNETES else []
    if as_json:
        print_json({"files": written, "notes": remarks})
        return
    for path in written:
        click.echo(path)
    for note in remarks:
        click.echo(note, err=True)


@deploy.command()
@click.argument("service")
@click.option("--trace", type=click.Choice(list(TRACES)), default="bursts", show_default=True)
@click.option(
    "--log",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV file of your own instead, with a column `seconds` or `timestamp` (ISO 8601).",
)
@click.option("--rate", default=2.0, show_default=True, help="Requests per second of --trace.")
@click.option("--duration-s", default=3600.0, show_default=True, help="Length of --trace.")
@click.option("--slo-s", default=1.0, show_default=True, help="A slower answer misses the SLO.")
@click.option("--service-s", type=float, help="Time of one request alone; default: the profile's.")
@click.option("--seed", default=0, show_default=True)
@json_option
def simulate(
    *, service: str, trace: str, log: Path | None, rate: float, duration_s: float, slo_s: float,
    service_s: float | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Replay a trace against the scaling of SERVICE: once for each of its signals, and for all.

    A service that may scale to zero is simulated once more with one replica that always runs.
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
    if as_json:
        rows = [{"scaled_on": one.name, **one.figures()} for one in findings]
        print_json({"service": service, "requests": len(arrivals), "findings": rows})
        return
    table = Table(*HEADINGS, title=f"{service}: {len(arrivals)} requests")
    for finding in findings:
        table.add_row(*finding.cells())
    print_table(table)
    for finding in findings:
        click.echo(f"\nscaled on {finding.name}\n{plot(finding.outcome.moments)}")


def _ways(scaling: Scaling) -> Iterator[tuple[str, Scaling, tuple[Signal, ...]]]:
    """The ways of scaling that a simulation compares: their names, scaling and signals."""
    everything = tuple(scaling.signals)
    for alone_on in everything:
        yield alone_on, scaling, (alone_on,)
    if len(everything) > 1:
        yield "all of them", scaling, everything
    if scaling.min == 0:
        yield "all, min: 1", scaling.model_copy(update={"min": 1}), everything
