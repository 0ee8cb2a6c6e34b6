"""The machine: two stacks on it, and a clock that jumps."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp

from tests.chaos.load import Shot, fire, kinds, question, reasons, tally
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import GRACE_S, Stand
from tests.chaos.storage_rows import chats, said
from tests.support.stack import ROOT, free_port

RATE_PER_S = 5.0
END_S = 60
JUMPS = {"a day ahead": "+1d", "two days back": "-1d", "right again": "+0"}
"""What libfaketime adds to the time, one after the other."""


async def two_stacks(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """A second stack on the same port, which ends, and one on another, which serves and ends."""
    before = await _series(stand.url)
    taken = await asyncio.to_thread(_serve_on_a_taken_port, stand)
    folder = stand.directory / "second"
    folder.mkdir()
    other = replace(stand, url=f"http://127.0.0.1:{free_port()}", directory=folder)
    other.start_entry()
    try:
        await other.wait_ready()
        both = await asyncio.gather(
            *(fire(one.url, RATE_PER_S, size.seconds, question) for one in (stand, other))
        )
        counted = await _series(other.url)
    finally:
        await other.end_entry()
    alone = await fire(stand.url, RATE_PER_S, size.seconds, question)
    after = await _series(stand.url)
    outcomes = [outcome for part in (*both, alone) for outcome in part]
    yield Row(
        "two stacks on one machine: one on a port that is taken, one on a free port",
        "the first answers all; its metrics stay its own; the one without a port ends with a line "
        "that names it",
        f"{tally(outcomes)}{reasons(outcomes) and f' ({reasons(outcomes)})'}; series of the first "
        f"{before} -> {after}, of the second {counted}; on the taken port: {taken[1]}",
        misses(
            answered=len(kinds(outcomes, "ok")) == len(outcomes),
            metrics=after >= before > 0,
            ends=taken[0] not in {None, 0} and stand.url.rsplit(":", 1)[1] in taken[1],
        ),
    )


def _serve_on_a_taken_port(stand: Stand) -> tuple[int | None, str]:
    """`tiffin serve` on the port of the stand: its status and its last line."""
    port = stand.url.rsplit(":", 1)[1]
    command = [str(Path(sys.executable).with_name("tiffin")), "serve", "--port", port]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_S)  # noqa: PLW1510
    except subprocess.TimeoutExpired:
        return None, f"still running after {END_S} s"
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return ended.returncode, lines[-1].strip()[:120].replace("|", "/") if lines else "no line"


async def _series(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        return (await response.text()).count("\ntiffin_")


def _new_question(first: int, number: int) -> Shot:
    return question(first + number)


def faketime() -> Path:
    """Where Debian puts libfaketime. Raises FileNotFoundError if it is not installed."""
    for library in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return library
    message = "no libfaketime here: apt-get install libfaketime"
    raise FileNotFoundError(message)


async def clock_jumps(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """The time of day jumps under load; the monotonic clock, as on a real machine, does not."""
    library = faketime()
    clock = stand.directory / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # reading the file at each call would stall the process
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "TIFFIN_CACHE__EXACT": "true",
    }
    await stand.restart_entry(**faked)
    try:
        async with aiohttp.ClientSession(base_url=stand.url) as session:
            await chats(session, "kept", 5, temperature=0)
            told, outcomes, seen = [], [], []
            for turn, (name, shift) in enumerate(JUMPS.items()):
                ask = partial(_new_question, 1000 * turn)
                load = asyncio.create_task(fire(stand.url, RATE_PER_S, size.seconds, ask))
                await asyncio.sleep(size.seconds / 2)
                part = clock.with_suffix(".part")
                part.write_text(f"{shift}\n")
                part.replace(clock)  # half a file is no time
                again = await chats(session, "kept", 5, temperature=0)
                seen += list(again)
                outcomes += await load
                told.append(f"{name}: kept before {said(again)}")
    finally:
        for variable in faked:
            stand.environment.pop(variable, None)
        await stand.restart_entry(TIFFIN_CACHE__EXACT="false")
    slowest_s = max(outcome.took_s for outcome in outcomes)
    p99_ms = percentile([outcome.took_s * 1000 for outcome in outcomes], 0.99)
    yield Row(
        "the clock jumps a day ahead and two back",
        "no request fails, none ends early or late: deadlines and breakers do not hang on the "
        "time of day",
        f"{tally(outcomes)}{reasons(outcomes) and f' ({reasons(outcomes)})'}, p99 {p99_ms:.0f} ms; "
        f"{'; '.join(told)}",
        misses(
            answered=len(kinds(outcomes, "ok")) == len(outcomes),
            kept=set(seen) == {"200"},
            in_time=slowest_s <= 5 + GRACE_S,
        ),
    )
