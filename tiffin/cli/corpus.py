"""`tiffin corpus`: the corpora of a running server, how they are, and embedding them anew."""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import print_table
from tiffin.cli.server import Server, server_options

Connect = Callable[[], Server]

PATH = "/v1/vector_stores"
POLL_S = 1.0
COLUMNS = ("name", "id", "documents", "chunks", "embedder", "state", "expires")
"""Of the list; `show` has all fields."""


@click.group()
@server_options
@click.pass_context
def corpus(context: click.Context, url: str, key: str | None) -> None:
    """The corpora of the tenant of your key, on a running server."""
    context.obj = partial(Server, url, key)


@corpus.command("list")
@json_option
@click.pass_obj
def list_corpora(connect: Connect, *, as_json: bool) -> None:
    """All corpora, the newest first."""
    with connect() as server:
        found = [
            _told(one, server.call("GET", f"{_at(one['id'])}/health")) for one in server.pages(PATH)
        ]
    if as_json:
        print_json(found)
        return
    table = Table(*COLUMNS, box=None)
    for one in found:
        table.add_row(*(_shown(name, one[name]) for name in COLUMNS))
    if found:
        print_table(table)
    else:
        click.echo("there are none; tiffin ingest PATH --corpus NAME makes one")


@corpus.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(connect: Connect, name: str, *, as_json: bool) -> None:
    """One corpus, by its name or id, and how its table is."""
    with connect() as server:
        told = _told(server.call("GET", _at(name)), server.call("GET", f"{_at(name)}/health"))
    if as_json:
        print_json(told)
        return
    for field, value in told.items():
        click.echo(f"{field.replace('_', ' ') + ':':<19} {_shown(field, value)}")


@corpus.command()
@click.argument("name")
@json_option
@click.pass_obj
def reembed(connect: Connect, name: str, *, as_json: bool) -> None:
    """Embed a corpus by the server's embedding model, and follow it.

    Searches go on meanwhile. If this command is interrupted, the server goes on all the same.
    """
    console = Console(stderr=True)
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        connect() as server,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        health = server.call("POST", f"{_at(name)}/reembed")
        task = bar.add_task("", total=health["chunks"])
        while (going := health["reembedding"]) is not None:
            bar.update(task, completed=going["chunks"])
            time.sleep(POLL_S)
            health = server.call("GET", f"{_at(name)}/health")
    if as_json:
        print_json(health)
    else:
        click.echo(f"{name}: {health['chunks']} chunks are embedded by {health['embedder']}")


def _at(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def _told(store: dict[str, Any], health: dict[str, Any]) -> dict[str, Any]:
    """What a server says of one corpus, in our words. Times are in Unix seconds."""
    files, pending = store["file_counts"], health["reembedding"]
    state = store["status"].replace("completed", "ready").replace("in_progress", "ingesting")
    if pending is not None:
        state = f"re-embedding: {pending['chunks']} of {health['chunks']}"
    elif health["embedder"] != health["server_embedder"]:
        state = "other embedder: searched by words only"
    return {
        "name": store["name"],
        "id": store["id"],
        "state": state,
        "documents": files["completed"],
        "waiting": files["in_progress"],
        "failed": files["failed"],
        "bytes": store["usage_bytes"],
        "chunks": health["chunks"],
        "embedder": health["embedder"],
        "version": health["version"],
        "fragments": health["fragments"],
        "unindexed_chunks": health["unindexed_chunks"],
        "vectors": health["vectors"],
        "index_recall": health["index_recall"],
        "unindexed_vectors": health["unindexed_vectors"],
        "compacted": health["compacted_at"],
        "created": store["created_at"],
        "asked": store["last_active_at"],
        "expires": store["expires_at"],
    }


def _shown(field: str, value: Any) -> str:  # noqa: ANN401  JSON
    if value is None:
        return "never" if field in {"compacted", "expires"} else "-"
    if field in {"compacted", "created", "asked", "expires"}:
        return datetime.fromtimestamp(value).astimezone().isoformat(" ", "minutes")
    return f"{value:,}" if isinstance(value, int) else str(value)
