"""`tiffin eval`: what a running Tiffin is worth on questions with known answers.

`answers` asks every question of a server, in each mode that is named, and prints how often the
answer is right, how often it refuses, and whether what it says stands in the documents. With
`--calibrate` it finds the setting that gives a wanted rate of false refusals on these questions.
`retrieval` and `safety` are in modules of their own.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import httpx2
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tiffin.cli.answer_figures import Reply, figures_of
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.figures import Figure, figure, figures_as_json
from tiffin.cli.progress import print_table
from tiffin.cli.questions import Asked, Part, of_file, of_squad
from tiffin.cli.retrieval import retrieval
from tiffin.cli.safety_eval import safety
from tiffin.cli.server import headers_of, server_options, unreachable
from tiffin.config.section import SettingsError
from tiffin.grounding.answerable import Head

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
LEAST_FOR_CALIBRATION = 40
RATES = [rate / 100 for rate in range(21)]
"""What `rag.false_refusals` may be."""


@click.group("eval")
def evaluate() -> None:
    """Measure answers on questions whose answers are known."""


evaluate.add_command(retrieval)
evaluate.add_command(safety)


@evaluate.command()
@click.argument("file", required=False, type=EXISTING)
@server_options
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="quote, a tier or a policy. May be given several times.",
)
@click.option(
    "--grounding",
    "groundings",
    multiple=True,
    type=click.Choice(["strict", "mark", "off"]),
    default=("strict",),
    show_default=True,
    help="With or without the check of sentences. May be given several times.",
)
@click.option(
    "--part",
    type=click.Choice(["development", "test"]),
    help="Of a file: only these. Of SQuAD the default is test.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many questions.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Questions at once. More than one makes each slower.",
)
@click.option(
    "--calibrate",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="RATE",
    help="Find the setting for this rate of false refusals, such as 0.05.",
)
@json_option
def answers(
    *,
    file: Path | None,
    url: str,
    key: str | None,
    models: tuple[str, ...],
    groundings: tuple[str, ...],
    part: Part | None,
    limit: int | None,
    concurrency: int,
    calibrate: float | None,
    as_json: bool,
) -> None:
    """Ask a server the questions of FILE (JSON lines; see docs/answers.md), or SQuAD's.

    Prints figures with 95 % intervals, one column for each model and grounding.
    """
    questions = of_file(file, part, limit) if file else of_squad(part or "test", limit)
    modes = [(model, grounding) for model in models for grounding in groundings]
    if calibrate is not None:
        modes = [("quote", "mark")]  # it says the probability and refuses nothing
    asked = {
        f"{model}, {grounding}": asyncio.run(
            _ask_all(questions, {"model": model, "grounding": grounding}, url, key, concurrency)
        )
        for model, grounding in modes
    }
    if calibrate is not None:
        (replies,) = asked.values()
        _print_calibration(replies, calibrate, as_json=as_json)
        return
    columns = {name: figures_of(replies) for name, replies in asked.items()}
    if as_json:
        print_json(figures_as_json(columns))
    else:
        _print(columns, len(questions))


async def _ask_all(
    questions: Sequence[Asked], mode: dict[str, str], url: str, key: str | None, concurrency: int
) -> list[Reply]:
    turn = asyncio.Semaphore(concurrency)
    async with httpx2.AsyncClient(base_url=url, headers=headers_of(key), timeout=None) as client:

        async def one(asked: Asked) -> Reply:
            body = {
                "query": asked.question,
                "documents": [
                    item if isinstance(item, str) else item.model_dump(exclude_none=True)
                    for item in asked.documents
                ],
                **mode,
            }
            async with turn:
                began = time.perf_counter()
                answer = await _post(client, body)
                return Reply(asked, answer, (time.perf_counter() - began) * 1000, mode)

        tasks = [asyncio.create_task(one(asked)) for asked in questions]
        shown = Console(stderr=True)
        title = ", ".join(mode.values())
        steps = track(tasks, title, console=shown, disable=not shown.is_terminal, transient=True)
        try:
            return [await task for task in steps]
        finally:
            for task in tasks:
                task.cancel()


async def _post(client: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    try:
        response = await client.post("/rag_query", json=body)
        answer = response.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise SettingsError(unreachable(str(client.base_url), error)) from error
    if not response.is_success:
        message = answer.get("error", {}).get("message", response.reason_phrase)
        raise SettingsError(f"{body['query']!r}: {response.status_code}: {message}")
    found: dict[str, Any] = answer
    return found


def _print(columns: dict[str, dict[str, Figure]], count: int) -> None:
    table = Table(f"{count} questions", *columns)
    for name in next(iter(columns.values())):
        table.add_row(name, *(str(figures[name]) for figures in columns.values()))
    print_table(table)


def _print_calibration(replies: Sequence[Reply], wanted: float, *, as_json: bool) -> None:
    """Choose the setting on one half of the questions, and say what it does on the other."""
    chosen, held_out = _halves(replies)
    head = Head.load()
    least = [item for item in chosen if item.asked.answers]
    if len(least) < LEAST_FOR_CALIBRATION / 2:
        count = sum(bool(item.asked.answers) for item in replies)
        message = f"needs {LEAST_FOR_CALIBRATION} questions that the documents answer, not {count}"
        raise SettingsError(f"--calibrate {message}")

    def refused(rate: float, rows: Sequence[Reply]) -> Figure:
        below = [float((r.probability or 0.0) < head.threshold(rate)) for r in rows]
        return figure(below, [r.asked.group for r in rows])

    fitting = [rate for rate in RATES if refused(rate, least).value <= wanted]
    rate = max(fitting, default=None)
    others = {
        "answerable": [item for item in held_out if item.asked.answers],
        "unanswerable": [item for item in held_out if not item.asked.answers],
    }
    figures = {n: refused(rate, rows) for n, rows in others.items()} if rate is not None else {}
    if as_json:
        print_json({"false_refusals": rate, **figures_as_json({"refused": figures})})
        return
    if rate is None:
        click.echo(
            f"No setting refuses {wanted:.0%} or fewer: even {RATES[0]:g} refuses"
            f" {refused(RATES[0], least)} of the questions that the documents answer."
            " Use `grounding: mark`, which refuses nothing and says the probability."
        )
        return
    click.echo(f"TIFFIN_RAG__FALSE_REFUSALS={rate:g}")
    for name, share in figures.items():
        click.echo(f"refuses {share} of {len(others[name])} other {name} questions")


def _halves(replies: Sequence[Reply]) -> tuple[list[Reply], list[Reply]]:
    """By the hash of the group, so that a group is in one half and stays there."""
    halves: tuple[list[Reply], list[Reply]] = [], []
    for item in replies:
        digest = hashlib.sha256(f"half {item.asked.group}".encode()).digest()
        halves[digest[0] % 2].append(item)
    return halves
