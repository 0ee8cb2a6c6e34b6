"""Corpora: a hundred of them, and what other rows ask of one."""

import asyncio
import time
from collections.abc import AsyncGenerator

import aiohttp

from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import MIB, Stand

CORPORA = 100


async def upload(session: aiohttp.ClientSession, name: str, text: str) -> tuple[int, str]:
    """Upload a file; the status, and its id or what is wrong."""
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", text.encode(), filename=f"{name}.txt")
    async with session.post("/v1/files", data=form) as response:
        body = await response.json()
    return response.status, str(body.get("error", body).get("message", body.get("id")))


async def corpus_of(session: aiohttp.ClientSession, name: str, text: str) -> str:
    """A corpus with one document, once it can be found; its id."""
    _, file = await upload(session, name, text)
    body = {"name": name, "file_ids": [file]}
    async with session.post("/v1/vector_stores", json=body) as response:
        store = str((await response.json())["id"])
    async with asyncio.timeout(60):
        while "in_progress" in await state_of(session, store):
            await asyncio.sleep(0.05)
    return store


async def state_of(session: aiohttp.ClientSession, store: str) -> str:
    """Whether a corpus is ready: `in_progress`, `completed`."""
    async with session.get(f"/v1/vector_stores/{store}") as response:
        return str((await response.json())["status"])


async def asked_right(session: aiohttp.ClientSession, corpus: str, wanted: str) -> bool:
    """Whether the corpus still answers, with its own words."""
    body = {"query": f"How tall is the {corpus} tower?", "corpus": corpus, "model": "quote"}
    async with session.post("/rag_query", json=body) as response:
        return response.status == 200 and wanted in await response.text()


async def many_corpora(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """A hundred corpora are filled, and asked in turn."""
    folder = str(stand.directory / "many")
    await stand.restart_entry(TIFFIN_CORPORA=folder)
    entry = stand.entry()
    async with aiohttp.ClientSession(base_url=stand.url) as session:
        began = time.monotonic()
        for number in range(CORPORA):
            await corpus_of(session, f"c{number}", f"The c{number} tower is {number + 900} metres.")
        filled_s = time.monotonic() - began
        first_mib, first_files = entry.memory_info().rss / MIB, entry.num_fds()
        right, spans_ms = 0, []
        for turn in range(3):
            for number in range(CORPORA):
                asked = time.monotonic()
                right += await asked_right(session, f"c{number}", f"{number + 900} metres")
                spans_ms += [(time.monotonic() - asked) * 1000] * (turn > 0)
    grown = entry.memory_info().rss / MIB - first_mib
    files = entry.num_fds()
    del stand.environment["TIFFIN_CORPORA"]
    await stand.restart_entry()
    yield Row(
        f"{CORPORA} corpora, filled and asked in turn, three times",
        "each answers with its own words; memory grows by <= 100 MiB; descriptors <= 1,000",
        f"{right} of {3 * CORPORA} right; filled in {filled_s:.0f} s; p99 "
        f"{percentile(spans_ms, 0.99):.0f} ms; memory {first_mib:.0f} -> "
        f"{first_mib + grown:.0f} MiB, descriptors {first_files} -> {files}",
        misses(right=right == 3 * CORPORA, memory=grown <= 100, descriptors=files <= 1000),
    )
