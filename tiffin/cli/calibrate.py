"""`tiffin cache calibrate`: what the semantic cache would serve of your own pairs of questions.

A file has one JSON object a line:

    {"kept": "How do I cancel?", "new": "How can I end it?", "same": true, "documents": ["..."]}

`same` says whether one answer fits both. `corpus` may take the place of `documents`, and `answer`
is the one that was given to `kept`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from tiffin.cli.as_json import print_json
from tiffin.cli.figures import at_most, wilson
from tiffin.cli.json_lines import rows_of
from tiffin.cli.progress import print_table
from tiffin.cli.server import Server
from tiffin.config.section import SettingsError
from tiffin.core.values import Document
from tiffin.grounding import alike


class Pair(BaseModel):
    """Two questions over the same documents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kept: str = Field(min_length=1)
    new: str = Field(min_length=1)
    same: bool
    documents: tuple[str | Document, ...] = ()
    corpus: str | None = None
    answer: str = ""

    def body(self) -> dict[str, Any]:
        """What the server is asked."""
        return self.model_dump(exclude={"same"}, exclude_none=True, mode="json")


def pairs_of(path: Path, corpus: str | None) -> list[Pair]:
    """The pairs of a file; `corpus` is for those that name no documents.

    Raises ClickException with the number of the first bad line.
    """
    try:
        rows = list(rows_of(path, Pair))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    found = []
    for place, pair in rows:
        if not (pair.documents or pair.corpus or corpus):
            message = (
                f"{path}, {place}: documents: none; give the line `documents` or `corpus`,"
                " or the command --corpus"
            )
            raise click.ClickException(message)
        of_all = not pair.documents and not pair.corpus
        found.append(pair.model_copy(update={"corpus": corpus}) if of_all else pair)
    if {pair.same for pair in found} != {True, False}:
        message = f"{path}: same: needs pairs of both kinds, true and false"
        raise click.ClickException(message)
    return found


def calibrate(server: Server, pairs: Sequence[Pair], wanted: float, *, as_json: bool) -> None:
    """Print what each `wrong_hits` serves, and the largest that is wrong in at most `wanted`."""
    answers = [server.call("POST", "/v1/cache/compare", json=pair.body()) for pair in pairs]
    likely = np.array([answer["probability"] or 0.0 for answer in answers])
    same = np.array([pair.same for pair in pairs])
    head = alike.shipped(confirmed=any(answer["confirmed"] for answer in answers))
    rows = {rate: _row(likely >= head.threshold(rate), same) for rate in head.bounds()}
    fitting = [rate for rate, row in rows.items() if row["wrong_at_most"] <= wanted]
    best = max(fitting, default=None)
    if as_json:
        print_json({"same": int(same.sum()), "other": int((~same).sum()), "wanted": wanted,
                    "by_wrong_hits": rows, "wrong_hits": best})  # fmt: skip
        return
    table = Table(
        "wrong_hits", f"served of {same.sum()} that fit", f"wrong of {(~same).sum()}", "at most"
    )
    for rate, row in rows.items():
        served = f"{row['served']} ({row['low']:.0%} to {row['high']:.0%})"
        table.add_row(f"{rate:g}", served, str(row["wrong"]), f"{row['wrong_at_most']:.1%}")
    print_table(table)
    if best is not None:
        click.echo(f"TIFFIN_CACHE__WRONG_HITS={best:g}")
        return
    click.echo(_none(int((~same).sum()), wanted))


def _row(served: np.ndarray[Any, np.dtype[np.bool_]], same: Any) -> dict[str, Any]:  # noqa: ANN401
    share, wrong = wilson(served[same]), int(served[~same].sum())
    most = at_most(wrong, int((~same).sum()))
    return {
        "served": int(served[same].sum()),
        "low": share.low,
        "high": share.high,
        "wrong": wrong,
        "wrong_at_most": most,
    }


def _none(others: int, wanted: float) -> str:
    """What to do if no setting is shown to be wrong so rarely."""
    needed = math.ceil(math.log(0.05) / math.log1p(-wanted))  # where `at_most(0, n)` reaches it
    if others < needed:
        return (
            f"{others} pairs that are not the same cannot show that at most {wanted:g} are served:"
            f" even with none of them served it takes {needed}"
        )
    return f"no setting is wrong in at most {wanted:g}: leave TIFFIN_CACHE__SEMANTIC=false"
