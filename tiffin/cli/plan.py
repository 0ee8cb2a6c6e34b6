"""`tiffin plan`: which model runs on which GPU, what it takes and why, or what would fit."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from models.catalog import load_catalog
from models.errors import PlacementError
from models.placement.advice import plan_or_advise
from models.placement.arithmetic import Workload
from models.placement.described import parse_model
from models.placement.hardware import GB, Gpu, detect_gpus, mps_runs, parse_gpus
from models.placement.planner import RESERVE, Placement, Plan
from models.user_catalog import catalog_of
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.plan_cpu import Machine
from tiffin.cli.plan_room import more, next_step, room
from tiffin.cli.progress import print_table
from tiffin.config.placement import workloads
from tiffin.config.settings import check_models, load_settings

CONTEXT_TOKENS = 8192
PARALLEL = 8
"""The size of a described model's requests, unless the command line says otherwise."""

MPS_RUNS = "MPS: its daemon runs, so models that share a GPU compute side by side"
NO_MPS = (
    "MPS: no daemon runs here, so models that share a GPU take turns; "
    "`nvidia-cuda-mps-control -d` starts one"
)


@click.command()
@click.option("--profile", help="Plan for this profile; by default, the current one.")
@click.option(
    "--gpus", help="Plan for these, as in 1x24,4x80 or 2x3g.40gb; by default, those detected."
)
@click.option(
    "--model", "described", multiple=True, help="A model by its sizes; see docs/planning.md."
)
@click.option("--context", type=click.IntRange(min=256), help="Tokens of each LLM request.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests at once of each LLM.")
@click.option(
    "--catalog", "catalog_file", type=click.Path(path_type=Path), help="Use another catalogue."
)
@json_option
def plan(
    *,
    profile: str | None,
    gpus: str | None,
    described: tuple[str, ...],
    context: int | None,
    concurrency: int | None,
    catalog_file: Path | None,
    as_json: bool,
) -> None:
    """Plan the models of a profile, or described ones, on this machine's GPUs or described ones."""
    cards = parse_gpus(gpus) if gpus is not None else detect_gpus()
    settings = load_settings(profile=profile) if profile else load_settings()
    catalog = load_catalog(catalog_file) if catalog_file else catalog_of(settings.home)
    works = _described(described, context, concurrency)
    if not works:
        check_models(settings, catalog)
        works = [_asked(work, context, concurrency) for work in workloads(settings, catalog)]
    if not cards and not described:
        Machine.of(settings, catalog).show(as_json=as_json)
        return
    if not cards:
        message = "this machine has no GPU; describe some with --gpus, as in --gpus 1x24,4x80"
        raise PlacementError(message)
    made = plan_or_advise(works, cards)
    if as_json:
        print_json(_as_json(made))
        return
    for gpu in made.gpus:
        _show_gpu(made, gpu)
    if gpus is None and any(made.shares(gpu) for gpu in cards):
        click.echo(MPS_RUNS if mps_runs() else NO_MPS)
    on_gpu = {placed.work.model for placed in made.placements}
    for name in () if described else settings.models():
        if name not in on_gpu:
            click.echo(f"{name}: on the CPU ({catalog.get(name).engine})")
    click.echo(next_step(settings.profile, here=gpus is None, described=bool(described)))


def _described(
    texts: tuple[str, ...], context: int | None, concurrency: int | None
) -> list[Workload]:
    return [
        parse_model(
            text,
            number=number,
            context_tokens=context or CONTEXT_TOKENS,
            parallel=concurrency or PARALLEL,
        )
        for number, text in enumerate(texts, start=1)
    ]


def _asked(work: Workload, context: int | None, concurrency: int | None) -> Workload:
    if work.engine == "sentence-transformers":
        return work
    return work.asking(context_tokens=context, parallel=concurrency)


def _show_gpu(made: Plan, gpu: Gpu) -> None:
    kind = f", MIG slice {gpu.mig_slice}" if gpu.mig_slice else ""
    title = f"GPU {gpu.device}: {gpu.name}{kind}, {gpu.total_bytes / GB:.1f} GB"
    names = ("service", "model", "weights", "KV cache", "activations", "fixed", "all")
    table = Table(*names, "TP", "share", "why", title=title, title_justify="left")
    for placed in made.on(gpu):
        table.add_row(*_cells(placed, _share(made, gpu, placed)))
    print_table(table)
    reserve = gpu.total_bytes * RESERVE
    click.echo(f"left {made.left(gpu) / GB:.2f} GB, and {reserve / GB:.2f} GB in reserve")
    for placed in made.on(gpu):
        if placed.need.kv_cache:
            click.echo(room(made, placed))
    click.echo()


def _share(made: Plan, gpu: Gpu, placed: Placement) -> str:
    """How the model shares the GPU's compute, as `models.placement.launch` sets it."""
    if not made.shares(gpu):
        return "alone"
    by_mps = placed.degree == 1 and gpu.mig_slice is None
    return f"MPS {placed.share:.0%}" if by_mps else "in turns"


def _cells(placed: Placement, share: str) -> list[str]:
    need = placed.need
    sizes = (need.weights, need.kv_cache, need.activations, need.fixed, need.total)
    return [
        placed.work.service,
        placed.work.model,
        *(f"{size / GB:.2f} GB" for size in sizes),
        str(placed.degree),
        share,
        placed.why,
    ]


def _as_json(made: Plan) -> list[dict[str, object]]:
    return [
        {
            "gpu": asdict(gpu),
            "left_bytes": made.left(gpu),
            "models": [
                {
                    "service": placed.work.service,
                    "model": placed.work.model,
                    **{f"{key}_bytes": size for key, size in asdict(placed.need).items()},
                    "context_tokens": placed.work.context_tokens,
                    "requests_at_once": placed.work.parallel,
                    "more_would_fit": more(made, placed),
                    "tensor_parallel": placed.degree,
                    "share": placed.share,
                    "why": placed.why,
                }
                for placed in made.on(gpu)
            ],
        }
        for gpu in made.gpus
    ]
