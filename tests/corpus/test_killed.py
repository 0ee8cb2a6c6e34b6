"""Ingestion that is killed, or copied, in the middle: nothing is lost and nothing is twice."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from tests.support.documents import pdf
from tests.support.ingesting import ingest, queued
from tests.support.killing import PHASES, Killer
from tests.support.stack import ROOT
from tiffin.corpus.copying import copy_corpora
from tiffin.corpus.lance import connect
from tiffin.corpus.store import Store
from tiffin.corpus.table import MEANING

KILLS = 20
FILES = 30
PARTS = 24


def documents(turn: int) -> dict[str, str]:
    """Files of a hundred paragraphs or so, none like another."""
    return {
        f"{turn}-{n}.md": f"# Title {turn} {n}\n\n"
        + "\n\n".join(f"Paragraph {p} of {turn} {n} is about a{p} b{n} c{turn}." for p in range(99))
        for n in range(FILES)
    }


def contents(store: Store, corpus: str) -> list[tuple[str, int, str]]:
    """Every chunk that can be found: its file's name, its number and its text."""
    found = store.records.corpus_by_id(corpus)
    assert found is not None
    table, files = store.table(found.table), store.records.visible(corpus)
    rows = table.rows(table.ids().places.tolist()).values()
    return sorted((files[row.file].name, row.number, row.text) for row in rows if row.file in files)


@pytest.mark.slow
def test_a_corpus_is_whole_after_twenty_kills(tmp_path: Path) -> None:
    killed_while_ingesting(tmp_path, KILLS)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_corpus_is_whole_after_two_hundred_kills(tmp_path: Path) -> None:
    killed_while_ingesting(tmp_path, 10 * KILLS)


def killed_while_ingesting(tmp_path: Path, kills: int) -> None:
    """Kill in each phase in turn, and compare with a corpus that was ingested at once."""
    killed, corpus, everything = Store(tmp_path / "killed", "test"), "", dict[str, str | bytes]()
    random, began = np.random.default_rng(7), time.monotonic()
    with Killer(killed.folder) as killer:
        for turn, phase in zip(range(kills), cycle(PHASES), strict=False):
            added = small_documents(turn)
            everything |= added
            corpus = queued(killed, added, corpus).id
            again_queued(killed, corpus, random)
            if phase == "index":
                make_index_due(killed, corpus)
            killer.kill_in(phase)
    print(f"{kills} kills in {time.monotonic() - began:.0f} s: {dict(killer.hits)}")
    assert killer.hits.total() > kills / 4, "the kills came too late to tell anything"
    asyncio.run(ingest(killed))
    whole = Store(tmp_path / "whole", "test")
    expected = contents(whole, same := _ingested(whole, everything))
    assert contents(killed, corpus) == expected
    assert len(killed.table(corpus).ids().seqs) == len(expected)
    assert vectors(killed, corpus) == vectors(whole, same)


def small_documents(turn: int) -> dict[str, str | bytes]:
    """A Markdown, an HTML, a PDF and a plain file of a page or two, none like another."""
    passages = json.loads((ROOT / "tests" / "data" / "passages.json").read_text())["passages"]
    parts = [part for text in passages for part in text.split(". ")][:PARTS]
    lines = [f"Case {turn}-{n}: {part}." for n, part in enumerate(parts)]
    drawn = [(72.0, 780.0 - 14 * n, 10.0, line[:90]) for n, line in enumerate(lines)]
    return {
        f"{turn}.md": "\n\n".join(f"## Case {turn}, {n}\n\n{one}" for n, one in enumerate(lines)),
        f"{turn}.html": f"<h1>Case {turn}</h1>" + "".join(f"<p>{line}</p>" for line in lines),
        f"{turn}.pdf": pdf([drawn[: PARTS // 2], drawn[PARTS // 2 :]]),
        f"{turn}.txt": "\n\n".join(lines),
    }


def again_queued(store: Store, corpus: str, random: np.random.Generator) -> None:
    """Have one of the files that are complete ingested again, as if it had been replaced."""
    if complete := sorted(store.records.visible(corpus)):
        file = str(random.choice(complete))
        found = store.records.member(corpus, file)
        assert found is not None
        store.records.add_members([found])


def make_index_due(store: Store, corpus: str) -> None:
    """Take the index of vectors away, so that it is made anew."""
    if store.table(corpus).health().indexed:
        connect(str(store.folder / "chunks")).open_table(corpus).drop_index(MEANING)
    store.records.note_index(corpus, None, None)  # type: ignore[arg-type]


def vectors(store: Store, corpus: str) -> dict[tuple[str, int], bytes]:
    """The vector of every chunk, by its file's name and its number."""
    table, files = store.table(corpus), store.records.visible(corpus)
    places = table.ids().places.tolist()
    found = table.vectors_at(places)
    return {
        (files[row.file].name, row.number): found[seq].tobytes()
        for seq, row in table.rows(places).items()
    }


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


def _ingested(store: Store, texts: Mapping[str, str | bytes]) -> str:
    corpus = queued(store, texts)
    asyncio.run(ingest(store))
    return corpus.id
