"""What is stored, when the disk is full and when the stores are away."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import aiohttp

from tests.chaos.backends import ECHO
from tests.chaos.corpus_rows import asked_right, corpus_of, state_of, upload
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import Stand
from tests.support.disk import fill, small_disk
from tests.support.postgres import programs, running_postgres
from tests.support.redis import running_redis

ASKED = 20
LONG = 100_000
"""Of a short text, 2 MB: a form as long as that is put into a temporary file first."""
BACK_S = 10.0
WRITTEN_S = 1.0
"""By which the ledger has written all attempts."""


async def full_disk(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """Ledger, corpora, uploads, log and temporary files on one disk, which fills up for a while."""
    if sys.platform != "linux":
        return
    with small_disk() as disk:
        ours = replace(stand, directory=disk)
        ours.environment = {
            **stand.environment,
            "TIFFIN_CORPORA": str(disk / "corpora"),
            "BENTOML_HOME": str(stand.directory / "bentoml"),
            "TMPDIR": str(disk),
        }
        await stand.end_entry()
        ours.start_entry()
        try:
            await ours.wait_ready()
            yield await _full(ours, disk)
        finally:
            await ours.end_entry()
    stand.start_entry()
    await stand.wait_ready()


async def _full(stand: Stand, disk: Path) -> Row:
    async with aiohttp.ClientSession(base_url=stand.url) as session:
        store = await corpus_of(session, "kept", "The kept tower is 324 metres tall.")
        before = await chats(session, "before")
        await asyncio.sleep(WRITTEN_S)
        filler = fill(disk)
        during = await chats(session, "during")
        refused = await upload(session, "new", "This finds no room. " * LONG)
        kept = await asked_right(session, "kept", "324")
        filler.unlink()
        after = await chats(session, "after")
        again = await upload(session, "again", "The again tower is 12 metres tall.")
        still = await asked_right(session, "kept", "324")
        alive = await state_of(session, store)
    await asyncio.sleep(WRITTEN_S)
    rows = _attempts(disk / "ledger.sqlite3")
    log = (disk / "serve.log").read_text(errors="replace")
    told = "rows are lost" in log
    return Row(
        "the disk is full: ledger, corpora, uploads, log and temporary files on it",
        "chats and corpora answer; an upload gets one typed error (507); rows of the ledger that "
        "are lost are counted in the log; once there is room all goes on, and nothing written "
        "before is lost",
        f"chats before {said(before)}, during {said(during)}, after {said(after)}; the upload: "
        f"{refused[0]} "
        f"{refused[1][:90]}, once there is room {again[0]}; the corpus answers "
        f"{'yes' if kept and still else 'no'} ({alive}); {rows} rows of {3 * ASKED} in the ledger, "
        f"those lost are {'' if told or rows >= 3 * ASKED else 'not '}told".replace("|", "/"),
        misses(
            chats=set(before) | set(during) | set(after) == {"200"},
            upload_typed=refused[0] == 507 and again[0] == 200,
            corpus=kept and still,
            ledger=rows >= 2 * ASKED and (told or rows >= 3 * ASKED),
        ),
    )


def _attempts(ledger: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(ledger)
    ((count,),) = connection.execute("SELECT COUNT(*) FROM attempts").fetchall()
    connection.close()
    return int(count)


async def chats(
    session: aiohttp.ClientSession, mark: str, count: int = ASKED, **fields: float
) -> Counter[str]:
    """How chats that differ ended."""
    ends: Counter[str] = Counter()
    for number in range(count):
        turn = {"role": "user", "content": f"{ECHO} {mark}-{number}"}
        body = {"model": "small", "messages": [turn], **fields}
        async with session.post("/v1/chat/completions", json=body) as response:
            text = await response.text()
        right = response.status != 200 or f"{mark}-{number}" in text
        ends[str(response.status) if right else "200 with other words"] += 1
    return ends


def said(ends: Counter[str]) -> str:
    return ", ".join(f"{count}x {end}" for end, count in ends.items())


async def stores_away(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """The shared cache and the shared ledger go away together, and come back."""
    folder = programs()
    if folder is None:
        message = "no PostgreSQL here: apt-get install postgresql"
        raise FileNotFoundError(message)
    with running_redis(stand.directory) as redis, running_postgres(folder) as books:
        await stand.restart_entry(
            TIFFIN_CACHE__EXACT="true",
            TIFFIN_CACHE__REDIS=redis.url,
            TIFFIN_ROUTING__LEDGER=books.url,
        )
        async with aiohttp.ClientSession(base_url=stand.url) as session:
            before = await chats(session, "before")
            redis.stop()
            await asyncio.to_thread(books.control, "stop", "-m", "immediate")
            began = time.monotonic()
            during = await chats(session, "during")
            slowest_s = (time.monotonic() - began) / ASKED
            redis.start()
            await asyncio.to_thread(books.control, "start")
            began = time.monotonic()
            while (back_s := time.monotonic() - began) < BACK_S:
                if "exact" in await _cached(session):
                    break
                await asyncio.sleep(0.2)
            after = await chats(session, "after")
        await asyncio.sleep(WRITTEN_S)
        rows = _shared_attempts(books.url)
        await stand.end_entry()
    for name in ("TIFFIN_CACHE__REDIS", "TIFFIN_ROUTING__LEDGER"):
        del stand.environment[name]
    await stand.restart_entry(TIFFIN_CACHE__EXACT="false")
    told = "rows are lost" in (stand.directory / "serve.log").read_text(errors="replace")
    yield Row(
        "Redis and the shared ledger are away together",
        f"no 5xx; lost rows of the ledger are told; answers are kept and rows written again within "
        f"{BACK_S:.0f} s",
        f"chats before {said(before)}, during {said(during)} ({slowest_s * 1000:.0f} ms each), "
        f"after {said(after)}; "
        f"kept again after {back_s:.1f} s; {rows} rows written, of {2 * ASKED} while it was there; "
        f"lost rows are {'' if told else 'not '}told",
        misses(
            no_5xx=set(before) | set(during) | set(after) == {"200"},
            back=back_s < BACK_S,
            ledger=rows >= 2 * ASKED,
            told=told,
        ),
    )


async def _cached(session: aiohttp.ClientSession) -> str:
    turn = {"role": "user", "content": f"{ECHO} again"}
    body = {"model": "small", "messages": [turn], "temperature": 0}
    async with session.post("/v1/chat/completions", json=body) as response:
        await response.read()
    return response.headers.get("x-tiffin-cache", "")


def _shared_attempts(url: str) -> int:
    from tiffin.routing.storage import open_storage

    storage = open_storage(url)
    ((count,),) = storage.read("SELECT COUNT(*) FROM attempts")
    storage.close()
    return int(count)
