"""Ingestion starts and stops, whatever comes at the same moment."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.ingesting import READS, WIDTH, Hashing, queued
from tiffin.corpus.corpora import ingestion_of
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table


@pytest.mark.parametrize("steps", range(3))
async def test_what_is_uploaded_at_the_last_moment_does_not_keep_it_from_stopping(
    tmp_path: Path, steps: int
) -> None:
    ingestion = ingestion_of(Store(tmp_path, "m"), Hashing(WIDTH), lambda: READS)
    ingestion.wake()
    await asyncio.sleep(0.05)  # it waits now
    ingestion.wake()
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.wait_for(ingestion.stop(), 5)


async def test_files_wait_while_the_disk_is_full_and_are_found_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any) -> None:
        raise RuntimeError("lance error: LanceError(IO): No space left on device (os error 28)")

    store = Store(tmp_path, "m")
    corpus = queued(store, {"tower.txt": "The tower is 324 metres tall."}).id
    ingestion = ingestion_of(store, Hashing(WIDTH), lambda: READS)

    def trouble() -> str | None:
        return ingestion.trouble

    with monkeypatch.context() as full:
        full.setattr(Table, "append", no_room)
        ingestion.start()
        async with asyncio.timeout(20):
            while trouble() is None:
                await asyncio.sleep(0.01)
        assert trouble() == "ingestion: the disk is full"
        assert store.records.counts(corpus)[0] == {"in_progress": 1}, "not failed: it waits"
    ingestion.wake()
    async with asyncio.timeout(20):
        while trouble() is not None or not store.records.visible(corpus):
            await asyncio.sleep(0.01)
    await ingestion.stop()
