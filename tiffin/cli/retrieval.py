"""`tiffin eval retrieval`: how well a running Tiffin finds what answers, in four ways.

The passages go into a corpus of their own, as files, through the API that users call; then every
question is searched by meaning, by words, by both, and by both with the reranker. Data is a folder
in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv), or SQuAD out of the lab.
"""

import csv
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.corpus_client import CorpusClient
from tiffin.cli.figures import Figure, figure, figures_as_json
from tiffin.cli.ingest import send_all
from tiffin.cli.local_files import LocalFile
from tiffin.cli.progress import print_table
from tiffin.cli.server import server_options
from tiffin.config.section import SettingsError

DEPTH = 10
WAYS: Mapping[str, dict[str, Any]] = {
    "meaning": {
        "ranker": "none",
        "hybrid_search": {"embedding_weight": 1, "text_weight": 0},
    },
    "words": {"ranker": "none", "hybrid_search": {"embedding_weight": 0, "text_weight": 1}},
    "both": {"ranker": "none"},
    "both, reranked": {"ranker": "auto"},
}


@dataclass(frozen=True)
class Query:
    """A question and the passages that answer it. `group` is what intervals are drawn over."""

    text: str
    relevant: frozenset[str]
    group: str


@dataclass(frozen=True)
class Found:
    """The passages that one search gave, best first, and how long it took."""

    query: Query
    names: tuple[str, ...]
    ms: float


def recall(found: Found, depth: int) -> float:
    """The share of what is relevant among the first `depth`."""
    relevant = found.query.relevant
    return len(relevant.intersection(found.names[:depth])) / len(relevant)


def reciprocal_rank(found: Found) -> float:
    """1 / the rank of the first relevant passage among the first ten; 0 without one."""
    ranks = (rank for rank, name in enumerate(found.names, 1) if name in found.query.relevant)
    return 1 / next(ranks, math.inf)


def ndcg(found: Found) -> float:
    """Normalised discounted cumulative gain at ten, every relevant passage counting the same."""
    gain = sum(
        1 / math.log2(rank + 1)
        for rank, name in enumerate(found.names[:DEPTH], 1)
        if name in found.query.relevant
    )
    best = sum(
        1 / math.log2(rank + 1) for rank in range(1, 1 + min(DEPTH, len(found.query.relevant)))
    )
    return gain / best


def of_folder(folder: Path) -> tuple[dict[str, str], list[Query]]:
    """Passages by name, and the questions that have a judgement. Raises SettingsError."""
    try:
        passages = {
            row["_id"]: f"{row.get('title', '')}\n\n{row['text']}".strip()
            for row in _lines(folder / "corpus.jsonl")
        }
        asked = {row["_id"]: row["text"] for row in _lines(folder / "queries.jsonl")}
        judged: dict[str, set[str]] = {}
        with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if int(row["score"]) > 0:
                    judged.setdefault(row["query-id"], set()).add(row["corpus-id"])
    except (OSError, KeyError, ValueError) as error:
        message = f"{folder}: not BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv)"
        raise SettingsError(f"{message}: {error}") from None
    return passages, [
        Query(asked[id_], frozenset(relevant), id_)
        for id_, relevant in judged.items()
        if id_ in asked
    ]


def of_squad(limit: int | None) -> tuple[dict[str, str], list[Query]]:
    """All passages of SQuAD's questions in the lab, and the questions of the test articles."""
    if find_spec("lab") is None:
        message = "SQuAD's questions come with the lab/ folder of a clone of Tiffin; name a FOLDER"
        raise SettingsError(message)
    data = import_module("lab.answers.data")
    questions = data.squad()
    names = {
        text: f"p{number}"
        for number, text in enumerate(dict.fromkeys(q.passage for q in questions))
    }
    test = [item for item in questions if data.part_of(item.article) == "test"][:limit]
    return {name: text for text, name in names.items()}, [
        Query(item.text, frozenset({names[item.passage]}), item.article) for item in test
    ]


def _lines(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


@click.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@server_options
@click.option("--limit", type=click.IntRange(min=1), help="At most so many questions of SQuAD.")
@click.option("--keep", is_flag=True, help="Leave the corpus there, for the next time.")
@json_option
def retrieval(
    folder: Path | None, url: str, key: str | None, limit: int | None, *, keep: bool, as_json: bool
) -> None:
    """Search for the answers of a FOLDER in BEIR's layout, or of SQuAD's, in four ways.

    Prints nDCG@10, recall and MRR@10 with 95 % intervals over articles, and the median time.
    """
    passages, queries = of_folder(folder) if folder else of_squad(limit)
    name = f"eval-{folder.name if folder else 'squad'}"
    with CorpusClient(url, key, name) as client:
        _fill(client, passages)
        columns = {way: _figures(_searched(client, queries, way)) for way in WAYS}
        if not keep:
            client.drop()
    if as_json:
        print_json(figures_as_json(columns))
        return
    table = Table(f"{len(queries)} questions, {len(passages)} passages", *columns)
    for row in next(iter(columns.values())):
        table.add_row(row, *(str(figures[row]) for figures in columns.values()))
    print_table(table)


def _fill(client: CorpusClient, passages: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="tiffin-eval-") as scratch:
        files = []
        for name, text in passages.items():
            path = Path(scratch) / f"{name}.txt"
            path.write_text(text, encoding="utf-8")
            files.append(LocalFile(path, path.name))
        failed = send_all(client, files, Console(stderr=True)).failed
    if failed:
        raise SettingsError(f"{len(failed)} passages could not be ingested")


def _searched(client: CorpusClient, queries: Sequence[Query], way: str) -> list[Found]:
    shown, found = Console(stderr=True), []
    for query in track(queries, way, console=shown, disable=not shown.is_terminal, transient=True):
        began = time.perf_counter()
        names = [
            one["filename"].removesuffix(".txt") for one in client.search(query.text, WAYS[way])
        ]
        took_ms = (time.perf_counter() - began) * 1000
        found.append(Found(query, tuple(dict.fromkeys(names)), took_ms))
    return found


def _figures(found: Sequence[Found]) -> dict[str, Figure]:
    groups = [one.query.group for one in found]
    rows = {
        "nDCG@10": [ndcg(one) for one in found],
        **{f"recall@{depth}": [recall(one, depth) for one in found] for depth in (1, 5, DEPTH)},
        "MRR@10": [reciprocal_rank(one) for one in found],
    }
    figures = {name: figure(values, groups) for name, values in rows.items()}
    median = figure([one.ms for one in found], groups, lambda drawn: float(np.median(drawn)))
    return {**figures, "ms, p50": median}
