"""`tiffin ingest`: puts files and folders into a corpus of a running server.

It can be interrupted and run again at any time: a file whose bytes the corpus has already (by its
SHA-256) is not sent, and the server goes on with what it has by itself.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.corpus_client import CorpusClient, Known
from tiffin.cli.local_files import LocalFile, local_files
from tiffin.cli.server import server_options

POLL_S = 0.5
WATCH_S = 2.0


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--corpus", required=True, help="Its name; it is created if there is none.")
@server_options
@click.option(
    "--watch", is_flag=True, help="Go on until interrupted: follow changes, and deletions too."
)
@json_option
def ingest(
    paths: Sequence[Path], corpus: str, url: str, key: str | None, *, watch: bool, as_json: bool
) -> None:
    """Put files, and all files of folders, into a corpus. What is there already costs nothing.

    With --json, an object on stdout says what was done; with --watch, one after each change.
    """
    console = Console(stderr=True)
    with CorpusClient(url, key, corpus) as client:
        sent = send_all(client, local_files(paths), console)
        if as_json:
            print_json(asdict(sent))
        while watch:
            time.sleep(WATCH_S)
            files = local_files(paths)
            client.forget_missing(files, {one.resolve().name for one in paths if one.is_dir()})
            later = send_all(client, files, console, quiet=True)
            if as_json and later.took_s:
                print_json(asdict(later))
    if sent.failed and as_json:
        raise SystemExit(1)  # which files, and why, is in the JSON
    if sent.failed:
        raise click.ClickException(f"{len(sent.failed)} files could not be ingested")


@dataclass(frozen=True)
class Sent:
    """What was done with the files; `failed` has a line for each that could not be ingested."""

    ingested: int
    unchanged: int
    failed: list[str]
    chunks: int
    took_s: float


def send_all(
    client: CorpusClient, files: Sequence[LocalFile], console: Console, *, quiet: bool = False
) -> Sent:
    """Send what is new, wait until it can be found, and remove what it replaces."""
    began, known = time.monotonic(), client.known()
    new = [file for file in files if not client.has(known, file)]
    if not new and quiet:
        return Sent(0, len(files), [], 0, 0.0)
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
    failed = [result.error for result in results if result.error is not None]
    took_s, chunks = time.monotonic() - began, sum(result.chunks for result in results)
    console.print(
        f"{len(new) - len(failed)} files ingested, {len(files) - len(new)} unchanged,"
        f" {len(failed)} failed:"
        f" {chunks} chunks in {took_s:.1f} s ({chunks / max(took_s, 1e-3):.0f} chunks/s)",
        highlight=False,
    )
    return Sent(len(new) - len(failed), len(files) - len(new), failed, chunks, took_s)


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
