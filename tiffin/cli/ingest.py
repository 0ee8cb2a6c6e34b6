"""`tiffin ingest`: puts files and folders into a corpus of a running server.

It can be interrupted and run again at any time: a file whose bytes the corpus has already (by its
SHA-256) is not sent, and the server goes on with what it has by itself.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import click
import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiffin.cli.corpus_client import CorpusClient, Known, RefusedError
from tiffin.cli.local_files import LocalFile, local_files

POLL_S = 0.5
WATCH_S = 2.0


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--corpus", required=True, help="Its name; it is created if there is none.")
@click.option(
    "--url", default="http://127.0.0.1:3000", show_default=True, help="Where Tiffin is served."
)
@click.option("--key", envvar="TIFFIN_API_KEY", help="An API key. Default: $TIFFIN_API_KEY.")
@click.option(
    "--watch", is_flag=True, help="Go on until interrupted: follow changes, and deletions too."
)
def ingest(paths: Sequence[Path], corpus: str, url: str, key: str | None, *, watch: bool) -> None:
    """Put files, and all files of folders, into a corpus. What is there already costs nothing."""
    console = Console(stderr=True)
    try:
        with CorpusClient(url, key, corpus) as client:
            failed = send_all(client, local_files(paths), console)
            while watch:
                time.sleep(WATCH_S)
                files = local_files(paths)
                client.forget_missing(files, {one.resolve().name for one in paths if one.is_dir()})
                send_all(client, files, console, quiet=True)
    except RefusedError as error:
        raise click.ClickException(str(error)) from error
    except httpx2.TransportError as error:
        message = f"--url: {url} does not answer ({error}); start it with `bentoml serve`"
        raise click.ClickException(message) from error
    if failed:
        raise click.ClickException(f"{failed} files could not be ingested")


def send_all(
    client: CorpusClient, files: Sequence[LocalFile], console: Console, *, quiet: bool = False
) -> int:
    """Send what is new, wait until it can be found, and remove what it replaces.

    Returns how many files failed.
    """
    began, known = time.monotonic(), client.known()
    new = [file for file in files if not client.has(known, file)]
    if not new and quiet:
        return 0
    sent: dict[str, LocalFile] = {}
    with _bars(console) as bars:
        task = bars.add_task("sending", total=len(new))
        for file in new:
            sent[client.send(file)] = file
            bars.advance(task)
        bars.reset(task, description="ingesting", total=len(sent))
        while (done := client.finished(sent)) < len(sent):
            bars.update(task, completed=done)
            time.sleep(POLL_S)
        bars.update(task, completed=len(sent))
    results = [client.member(file_id) for file_id in sent]
    for result in results:
        if result.error is not None:
            console.print(f"failed: {result.error}", highlight=False, markup=False)
        else:
            _replace(client, known, sent[result.file_id], result.file_id)
    failed = sum(result.error is not None for result in results)
    took_s, chunks = time.monotonic() - began, sum(result.chunks for result in results)
    console.print(
        f"{len(new) - failed} files ingested, {len(files) - len(new)} unchanged, {failed} failed:"
        f" {chunks} chunks in {took_s:.1f} s ({chunks / max(took_s, 1e-3):.0f} chunks/s)",
        highlight=False,
    )
    return failed


def _replace(client: CorpusClient, known: Sequence[Known], file: LocalFile, kept: str) -> None:
    """Remove earlier versions of a file, now that the new one can be found."""
    for one in known:
        if one.path == file.label and one.file_id != kept:
            client.remove(one.file_id)


def _bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
