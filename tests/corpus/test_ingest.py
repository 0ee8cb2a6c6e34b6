"""Ingestion starts and stops, whatever comes at the same moment."""

import asyncio
from pathlib import Path

import pytest

from tests.support.ingesting import READS, WIDTH, Hashing
from tiffin.corpus.corpora import ingestion_of
from tiffin.corpus.store import Store


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
