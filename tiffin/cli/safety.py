"""`tiffin safety`: what the trained checks would flag of your own harmless texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import print_table
from tiffin.cli.server import Server, server_options
from tiffin.safety.heads import VECTOR_HEADS, Head

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
CATEGORIES = {"injection": "injection", "hate": "hate", "offensive": "harassment"}
"""What `/v1/moderations` calls the heads."""

TEXTS = 100
"""In one request."""


@click.group()
def safety() -> None:
    """What the checks would flag of your own texts."""


@safety.command()
@click.argument("texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@server_options
@click.option("--wanted", default=0.01, show_default=True, help="Share that may be flagged.")
@json_option
def calibrate(texts: Path, url: str, key: str | None, wanted: float, *, as_json: bool) -> None:
    """Say which `safety.false_positives` flags at most the wanted share of TEXTS, one a line."""
    lines = [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise click.UsageError(f"{texts}: no text in it; write one harmless text on each line")
    with Server(url, key) as server:
        said = scores_of(server, lines)
    by_rate = {rate: flagged(said, rate) for rate in RATES}
    fitting = [rate for rate, shares in by_rate.items() if max(shares.values()) <= wanted]
    if as_json:
        best = fitting[-1] if fitting else None
        print_json({"texts": len(lines), "flagged": by_rate, "false_positives": best})
        return
    table = Table("false_positives", *VECTOR_HEADS)
    for rate, shares in by_rate.items():
        table.add_row(f"{rate:g}", *(f"{shares[name]:.2%}" for name in VECTOR_HEADS))
    print_table(table)
    if not fitting:
        click.echo(f"even at {RATES[0]:g} more than {wanted:g} are flagged: log or mark only")
        return
    click.echo(f"of {len(lines)} texts: TIFFIN_SAFETY__FALSE_POSITIVES={fitting[-1]:g}")


def flagged(said: Sequence[Mapping[str, float]], rate: float) -> dict[str, float]:
    """The share of the texts that each head flags at a rate, from the heads' probabilities."""
    limits = {name: Head.shipped(name).threshold(rate) for name in VECTOR_HEADS}
    return {
        name: sum(scores[name] > limit for scores in said) / len(said)
        for name, limit in limits.items()
    }


def scores_of(server: Server, texts: Sequence[str]) -> list[dict[str, float]]:
    """What the heads of a server say of each text. Raises ClickException if it does not answer."""
    found: list[dict[str, float]] = []
    for at in range(0, len(texts), TEXTS):
        body = {"input": list(texts[at : at + TEXTS])}
        said = server.call("POST", "/v1/moderations", json=body)
        for result in said["results"]:
            scores = result["category_scores"]
            found.append({name: scores[CATEGORIES[name]] for name in VECTOR_HEADS})
    return found
