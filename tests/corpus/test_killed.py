"""Ingestion that is killed in the middle, again and again: nothing is lost and nothing is twice."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.ingesting import ingest, queued
from tests.support.stack import ROOT
from tiffin.corpus.store import Store

KILLS = 20
FILES_A_KILL = 30
EARLIEST_S, LATEST_S = 0.8, 3.0
"""From the start of the process, which needs about a second until it can write."""


def documents(turn: int) -> dict[str, str]:
    """Files of a hundred paragraphs or so, none like another."""
    return {
        f"{turn}-{n}.md": f"# Title {turn} {n}\n\n"
        + "\n\n".join(f"Paragraph {p} of {turn} {n} is about a{p} b{n} c{turn}." for p in range(99))
        for n in range(FILES_A_KILL)
    }


def contents(store: Store, corpus: str) -> list[tuple[str, int, str]]:
    """Every chunk that can be found: its file's name, its number and its text."""
    table, files = store.table(corpus), store.records.visible(corpus)
    return sorted(
        (visible.name, row.number, row.text)
        for file, visible in files.items()
        for row in table.text_of(file)
    )


@pytest.mark.slow
def test_a_corpus_is_whole_after_twenty_kills(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    killed, corpus, midway = Store(tmp_path / "killed", "test"), "", 0
    for turn in range(KILLS):
        corpus = queued(killed, documents(turn), corpus).id
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ingesting", str(killed.folder)], cwd=ROOT
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(EARLIEST_S, LATEST_S))
        process.kill()
        process.wait()
        midway += bool(killed.records.totals().get("in_progress"))
    assert midway > KILLS / 4, "the kills came too late to tell anything"
    asyncio.run(ingest(killed))
    whole = Store(tmp_path / "whole", "test")
    everything = {name: text for turn in range(KILLS) for name, text in documents(turn).items()}
    expected = contents(whole, _ingested(whole, everything))
    assert contents(killed, corpus) == expected
    assert len(killed.table(corpus).ids()[0]) == len(expected)


def _ingested(store: Store, texts: dict[str, str]) -> str:
    corpus = queued(store, texts)
    asyncio.run(ingest(store))
    return corpus.id
