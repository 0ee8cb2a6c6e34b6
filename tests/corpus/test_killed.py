"""Ingestion that is killed, or copied, in the middle: nothing is lost and nothing is twice."""

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.ingesting import ingest, queued
from tests.support.stack import ROOT
from tiffin.corpus.copying import copy_corpora
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
    found = store.records.corpus_by_id(corpus)
    assert found is not None
    table, files = store.table(found.table), store.records.visible(corpus)
    return sorted(
        (visible.name, row.number, row.text)
        for file, visible in files.items()
        for row in table.text_of(file)
    )


@pytest.mark.slow
def test_a_corpus_is_whole_after_twenty_kills(tmp_path: Path) -> None:
    killed_while_ingesting(tmp_path, KILLS)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_corpus_is_whole_after_two_hundred_kills(tmp_path: Path) -> None:
    killed_while_ingesting(tmp_path, 10 * KILLS)


def killed_while_ingesting(tmp_path: Path, kills: int) -> None:
    random = np.random.default_rng(7)
    killed, corpus, midway = Store(tmp_path / "killed", "test"), "", 0
    for turn in range(kills):
        corpus = queued(killed, documents(turn), corpus).id
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ingesting", str(killed.folder)], cwd=ROOT
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(EARLIEST_S, LATEST_S))
        process.kill()
        process.wait()
        midway += bool(killed.records.totals().get("in_progress"))
    assert midway > kills / 4, "the kills came too late to tell anything"
    asyncio.run(ingest(killed))
    whole = Store(tmp_path / "whole", "test")
    everything = {name: text for turn in range(kills) for name, text in documents(turn).items()}
    expected = contents(whole, _ingested(whole, everything))
    assert contents(killed, corpus) == expected
    assert len(killed.table(corpus).ids()[0]) == len(expected)


@pytest.mark.slow
def test_a_copy_taken_while_it_ingests_is_whole(tmp_path: Path) -> None:
    live, copies = Store(tmp_path / "live", "test"), list[Path]()
    everything = {name: text for turn in range(4) for name, text in documents(turn).items()}
    corpus = queued(live, everything).id
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ingesting", str(live.folder)], cwd=ROOT
    )
    while process.poll() is None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        copies[-1].mkdir()
        copy_corpora(live.folder, copies[-1])
        time.sleep(0.3)
    assert process.returncode == 0
    expected = contents(live, corpus)
    midway = 0
    for folder in copies:
        copy = Store(folder, "test")
        midway += 0 < copy.records.totals().get("completed", 0) < len(everything)
        found = contents(copy, corpus)
        assert set(found) <= set(expected)
        assert len({name for name, *_ in found}) == copy.records.totals().get("completed", 0)
        if folder == copies[len(copies) // 2]:
            asyncio.run(ingest(copy))
            assert contents(copy, corpus) == expected
        copy.close()
    assert midway, "no copy was taken in the middle, so that this tells nothing"


def _ingested(store: Store, texts: dict[str, str]) -> str:
    corpus = queued(store, texts)
    asyncio.run(ingest(store))
    return corpus.id
