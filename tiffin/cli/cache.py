"""`tiffin cache`: what a running server keeps, how to remove it, and why a question was no hit."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import click

from tiffin.grounding.same import Asked, differences

KEY_VARIABLE = "TIFFIN_API_KEY"
TIMEOUT_S = 10


@click.group()
@click.option("--url", default="http://localhost:3000", show_default=True, help="Of the server.")
@click.pass_context
def cache(context: click.Context, url: str) -> None:
    """What a running server keeps for the tenant of your key, read from TIFFIN_API_KEY."""
    context.obj = url.rstrip("/")


@cache.command()
@click.pass_obj
def stats(url: str) -> None:
    """How many answers are kept, and what they cost."""
    click.echo(_call("GET", f"{url}/v1/cache"))


@cache.command()
@click.argument("name", metavar="ID")
@click.pass_obj
def inspect(url: str, name: str) -> None:
    """One kept answer, by the id in `x-tiffin-cache-id`."""
    click.echo(_call("GET", f"{url}/v1/cache/{name}"))


@cache.command()
@click.option("--id", "name", help="Only the answer of this id.")
@click.option("--tier", help="Only what this tier wrote.")
@click.option("--model", help="Only what this model wrote.")
@click.option("--document", help="Only answers that cite the document of this id.")
@click.option("--corpus", help="Only answers over the corpus of this id or name.")
@click.option("--prefix", help="Only answers to questions that begin so.")
@click.pass_obj
def clear(url: str, /, name: str | None, **given: str | None) -> None:
    """Remove kept answers: all of them unless options say which. What is named must all hold."""
    query = urllib.parse.urlencode({key: value for key, value in given.items() if value})
    path = f"/v1/cache/{name}" if name else f"/v1/cache?{query}"
    click.echo(_call("DELETE", url + path))


@cache.command()
@click.argument("kept")
@click.argument("new")
@click.option("--answer", default="", help="The kept answer.")
def why(kept: str, new: str, answer: str) -> None:
    """Say what in the wording speaks against giving one question's answer to another.

    The evidence is taken to be the same: which it is, only a server with the documents can tell.
    """
    reasons = differences(Asked(kept, ()), Asked(new, ()), (), answer)
    click.echo(", ".join(reasons) or "nothing in the wording speaks against it")


def _call(method: str, url: str) -> str:
    """The server's answer, indented. Raises ClickException with its message."""
    key = os.environ.get(KEY_VARIABLE)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            answer: Any = json.load(response)
    except urllib.error.HTTPError as error:
        message = json.load(error)["error"]["message"]
        raise click.ClickException(message) from None
    except OSError as error:
        raise click.ClickException(f"{url}: {error}; is the server running?") from None
    return json.dumps(answer, indent=2)
