"""Safety killed, stopped and late: chats under a policy that blocks, and under one that marks."""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable

import aiohttp

from tests.chaos.backends import ECHO
from tests.chaos.proxy import Proxy
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import Stand

ASKED = 40
TIMEOUT_MS = 100
"""Less than the latency of the proxy."""

ACTIONS = {"block": "503 not_run", "mark": "200 not_run"}
"""What a policy wants of a chat whose input was not checked."""


async def _stopped(proxy: Proxy) -> None:
    proxy.fault = "blackhole"


async def _late(proxy: Proxy) -> None:
    proxy.fault = "latency"


FAULTS: dict[str, Callable[[Proxy], Awaitable[None]]] = {
    "killed": Proxy.stop,
    "stopped": _stopped,
    "late": _late,
}


async def sick_safety(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """Each fault under each policy, and what becomes of chats after it."""
    proxy = stand.proxies["Safety"]
    for action, wanted in ACTIONS.items():
        await stand.restart_entry(
            TIFFIN_SAFETY__CHAT__INPUT=json.dumps({"injection": action}),
            TIFFIN_SAFETY__TIMEOUT_MS=str(TIMEOUT_MS),
        )
        for name, fault in FAULTS.items():
            before = await _chats(stand)
            await fault(proxy)
            during = await _chats(stand)
            proxy.fault = "none"
            if name == "killed":
                await proxy.start()
            await stand.wait_ready()
            yield _row(name, action, wanted, before, during, await _chats(stand))
    del stand.environment["TIFFIN_SAFETY__CHAT__INPUT"]
    await stand.restart_entry()


def _row(
    name: str,
    action: str,
    wanted: str,
    before: Counter[str],
    during: Counter[str],
    after: Counter[str],
) -> Row:
    clean = Counter({"200 clean": ASKED})
    closed = "503, and no model reads it" if action == "block" else "200 with `not_run`"
    return Row(
        f"Safety is {name}, the policy of the input says {action}",
        f"every chat gets {closed}; before and after it is checked",
        f"{_said(during)}; before: {_said(before)}; after: {_said(after)}",
        misses(held=set(during) == {wanted}, before=before == clean, after=after == clean),
    )


async def _chats(stand: Stand) -> Counter[str]:
    """How chats ended: their status, and what became of the check of their input."""
    ends: Counter[str] = Counter()
    async with aiohttp.ClientSession(base_url=stand.url) as session:
        for number in range(ASKED):
            turn = {"role": "user", "content": f"{ECHO} {number}"}
            body = {"model": "small", "messages": [turn]}
            async with session.post("/v1/chat/completions", json=body) as response:
                await response.read()
                checks = response.headers.get("x-tiffin-checks", "=none")
                ends[f"{response.status} {checks.rpartition('=')[2]}"] += 1
    return ends


def _said(ends: Counter[str]) -> str:
    return ", ".join(f"{count}x {end}" for end, count in ends.items())
