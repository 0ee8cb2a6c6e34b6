"""`tiffin router train`, `calibrate` and `eval`, which make and evaluate a complexity model.

`tiffin.cli.router` finds these commands if the folder `lab` can be imported, as in a clone.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lab.router.evaluation import OF_STRONG, SERVED, Worth, calibration, evaluate
from lab.router.outcomes import By, Outcomes, OutcomesError, read_outcomes, widened
from lab.router.training import (
    FOLDS,
    REPEATS,
    calibrate,
    cross_validated,
    judge_all,
    save,
    train,
)
from models.catalog import load_catalog
from models.store import Store
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import print_table, pull_shown
from tiffin.config.settings import load_settings
from tiffin.routing.complexity import SHIPPED, ComplexityModel

File = click.Path(exists=True, dir_okay=False, path_type=Path)
LEAST_ROWS = 100
"""Ten in each fold of the cross-validation. Fewer give probabilities that mean nothing."""
DATA_HELP = "Labelled traffic: CSV (.gz) or JSON lines (see docs/routing.md)."
VECTORS_HELP = "Keep the queries' embeddings in this .npy file, or read them from it if it exists."

data_argument = click.argument("data", type=File, metavar="DATA")
vectors_option = click.option("--vectors", type=click.Path(path_type=Path), help=VECTORS_HELP)
sha_option = click.option("--sha256", help="Refuse data that has another digest.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where the model is written."
)
model_option = click.option("--model", type=File, default=SHIPPED, help="A complexity model.")


@click.command("train")
@data_argument
@out_option
@vectors_option
@sha_option
@click.option("--seed", default=0, show_default=True, help="Seed of the folds and landmarks.")
@json_option
def train_command(
    data: Path, out: Path, vectors: Path | None, sha256: str | None, seed: int, *, as_json: bool
) -> None:
    """Train a complexity model on DATA and calibrate it by cross-validation over its groups."""
    outcomes = _outcomes(data, sha256)
    if len(outcomes.queries) < LEAST_ROWS:
        message = (
            f"{data}: {len(outcomes.queries)} rows are too few to learn from; {LEAST_ROWS} are the"
            " least, and `calibrate` fits the shipped model to fewer"
        )
        raise click.ClickException(message)
    outcomes = widened(outcomes)
    model = train(outcomes, _embedded(outcomes, vectors), seed=seed)
    save(model, out)
    if as_json:
        print_json({"out": out, "seed": seed, "sha256": outcomes.sha256})
        return
    click.echo(f"{out}: trained with seed {seed} on {data.name}, sha256 {outcomes.sha256}")


@click.command("calibrate")
@data_argument
@out_option
@model_option
@vectors_option
@sha_option
@json_option
def calibrate_command(
    data: Path, out: Path, model: Path, vectors: Path | None, sha256: str | None, *, as_json: bool
) -> None:
    """Fit the probabilities of a model to DATA, and leave the rest of the model as it is."""
    outcomes = _outcomes(data, sha256)
    loaded = ComplexityModel.load(model)
    save(calibrate(loaded, outcomes, _embedded(outcomes, vectors)), out)
    if as_json:
        print_json({"out": out, "rows": len(outcomes.queries)})
        return
    click.echo(f"{out}: calibrated on {len(outcomes.queries)} rows of {data.name}")


@click.command("eval")
@data_argument
@model_option
@vectors_option
@sha_option
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=REPEATS,
    show_default=True,
    help="Repeats of the cross-validation, each with other folds.",
)
@click.option(
    "--weak-cost", default=0.01, show_default=True, help="Cost of a weak call / a strong call."
)
@click.option(
    "--by",
    type=click.Choice(["group", "query"]),
    default="group",
    show_default=True,
    help="Hold out whole groups, or queries of known groups.",
)
@click.option(
    "--without", multiple=True, help="Leave this group out of the figures, not of the training."
)
@json_option
def eval_command(  # noqa: PLR0917  click passes them by name
    data: Path,
    model: Path,
    vectors: Path | None,
    sha256: str | None,
    repeats: int,
    weak_cost: float,
    by: By,
    without: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Print what a model is worth on DATA, compared with simpler ways to choose.

    On the data that it was trained on, models like it are cross-validated instead.
    """
    outcomes = _outcomes(data, sha256)
    loaded = ComplexityModel.load(model)
    given, outcomes = len(outcomes.queries), widened(outcomes)
    embedded = _embedded(outcomes, vectors)
    own = outcomes.sha256 == loaded.metadata.get("data_sha256")
    if own:
        seeds = _shown(range(repeats), "cross-validating")
        said = list(cross_validated(outcomes, embedded, seeds=seeds, by=by))
    else:
        said = [judge_all(loaded, outcomes, embedded)]
    if unknown := set(without) - set(outcomes.groups):
        message = f"--without: {data} has no group {', '.join(sorted(unknown))}"
        raise OutcomesError(message)
    as_given = np.arange(len(outcomes.queries)) < given
    kept = np.flatnonzero(as_given & [group not in without for group in outcomes.groups])
    said, outcomes = [repeat.take(kept) for repeat in said], outcomes.take(kept)
    each = f"by {by} in {FOLDS} parts, each held out once; repeats: {repeats}"
    how = each if own else "none of them trained on"
    with Console(stderr=True).status("drawing the groups again"):
        worths = evaluate(said, outcomes, weak_cost=weak_cost, by=by)
    error = calibration(said, outcomes)
    if as_json:
        print_json({"how": how, "worths": [asdict(one) for one in worths], "error": error})
        return
    click.echo(f"{len(outcomes.queries)} queries of {len(set(outcomes.groups))} groups, {how}")
    print_table(_worth_table(worths))
    click.echo(f"expected calibration error of the probability: {error:.3f}")


def _outcomes(data: Path, sha256: str | None) -> Outcomes:
    outcomes = read_outcomes(data)
    if sha256 is not None and outcomes.sha256 != sha256:
        message = f"{data}: its sha256 is {outcomes.sha256}, not {sha256}"
        raise OutcomesError(message)
    return outcomes


def _embedded(outcomes: Outcomes, kept: Path | None) -> NDArray[np.float32]:
    """The queries' vectors, from the file if there is one, else from the embedding model."""
    if kept is not None and kept.exists():
        vectors: NDArray[np.float32] = np.load(kept)
        if len(vectors) != len(outcomes.queries):
            message = f"{kept}: {len(vectors)} vectors for {len(outcomes.queries)} queries"
            raise OutcomesError(message)
        return vectors
    from sentence_transformers import SentenceTransformer

    settings = load_settings()
    model = load_catalog().get(settings.embedding.model)
    store = Store(settings.home)
    pull_shown(store, model)
    encoder = SentenceTransformer(str(store.path(model)))
    rows = encoder.encode(
        list(outcomes.queries), batch_size=64, normalize_embeddings=True, show_progress_bar=True
    )
    embedded = np.asarray(rows, np.float32)
    if kept is not None:
        np.save(kept, embedded)
    return embedded


def _shown(steps: range, doing: str) -> Iterable[int]:
    """The steps, with a progress bar on a terminal."""
    console = Console(stderr=True)
    return track(steps, doing, console=console, transient=True, disable=not console.is_terminal)


def _worth_table(worths: list[Worth]) -> Table:
    at = f"at {OF_STRONG:.0%} of its quality"
    titles = ("area", "95 %", "behind ours, 95 %", f"strong calls {at}", "more than ours, 95 %")
    last = (f"cost {at}", "strong calls for half the gap", "for 80 %")
    table = Table("way to choose", *titles, *last)
    for worth in worths:
        ours = worth.name == SERVED
        table.add_row(
            worth.name,
            f"{worth.area:.3f}",
            "{:.3f}-{:.3f}".format(*worth.between),
            "" if ours else "{:+.3f} to {:+.3f}".format(*worth.behind),
            f"{worth.strong_share:.1%}",
            "" if ours else "{:+.1%} to {:+.1%}".format(*worth.more_calls),
            *(f"{share:.1%}" for share in (worth.cost, worth.half_gap, worth.most_gap)),
        )
    return table
