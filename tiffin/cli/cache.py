"""`tiffin cache`: what a running server keeps, how to remove it, and why a question was no hit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.calibrate import calibrate, pairs_of
from tiffin.cli.server import Server, server_options
from tiffin.config.caching import CacheSettings
from tiffin.grounding.alike import Nearness
from tiffin.grounding.same import Asked, Kept, differences

WRONG_HITS = CacheSettings().wrong_hits
Connect = Callable[[], Server]


@click.group()
@server_options
@click.pass_context
def cache(context: click.Context, url: str, key: str | None) -> None:
    """What a running server keeps for the tenant of your key."""
    context.obj = partial(Server, url, key)


@cache.command()
@json_option
@click.pass_obj
def stats(connect: Connect, *, as_json: bool) -> None:
    """How many answers are kept, and what they cost."""
    with connect() as server:
        _show(server.call("GET", "/v1/cache"), as_json=as_json)


@cache.command()
@click.argument("name", metavar="ID")
@json_option
@click.pass_obj
def inspect(connect: Connect, name: str, *, as_json: bool) -> None:
    """One kept answer, by the id in `x-tiffin-cache-id`."""
    with connect() as server:
        _show(server.call("GET", f"/v1/cache/{name}"), as_json=as_json)


@cache.command()
@click.option("--id", "name", help="Only the answer of this id.")
@click.option("--tier", help="Only what this tier wrote.")
@click.option("--model", help="Only what this model wrote.")
@click.option("--document", help="Only answers that cite the document of this id.")
@click.option("--corpus", help="Only answers over the corpus of this id or name.")
@click.option("--prefix", help="Only answers to questions that begin so.")
@json_option
@click.pass_obj
def clear(connect: Connect, /, name: str | None, *, as_json: bool, **given: str | None) -> None:
    """Remove kept answers: all of them unless options say which. What is named must all hold."""
    query = {key: value for key, value in given.items() if value}
    path = f"/v1/cache/{name}" if name else "/v1/cache"
    with connect() as server:
        _show(server.call("DELETE", path, params={} if name else query), as_json=as_json)


@cache.command()
@click.argument("kept")
@click.argument("new")
@click.option("--answer", default="", help="The kept answer.")
@json_option
def why(kept: str, new: str, answer: str, *, as_json: bool) -> None:
    """Say what in the wording speaks against giving one question's answer to another.

    The evidence is taken to be the same: which it is, only a server with the documents can tell.
    """
    reasons = differences(Kept(kept, (), answer=answer), Asked(new, ()), Nearness(1.0), WRONG_HITS)
    if as_json:
        print_json({"differences": reasons})
    else:
        click.echo(", ".join(reasons) or "nothing in the wording speaks against it")


@cache.command("calibrate")
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--corpus", help="Of pairs that name no documents.")
@click.option(
    "--wanted",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="Share of other questions that may get a kept answer.",
)
@json_option
@click.pass_obj
def calibrated(
    connect: Connect, pairs: Path, corpus: str | None, wanted: float, *, as_json: bool
) -> None:
    """Say which `cache.wrong_hits` serves how many of your own PAIRS of questions.

    PAIRS has a JSON object a line, with `kept`, `new`, `same`, and `documents` or `corpus`; see
    docs/cache.md.
    """
    found = pairs_of(pairs, corpus)
    with connect() as server:
        calibrate(server, found, wanted, as_json=as_json)


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    """A line for each field, or the server's answer as it is."""
    if as_json:
        print_json(answer)
        return
    for name, value in answer.items():
        click.echo(f"{name + ':':<12} {value}")
