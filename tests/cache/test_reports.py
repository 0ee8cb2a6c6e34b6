"""How wrong answers that were reported tighten the scope that they came from."""

from tiffin.cache.reports import MOST, allowed, report, reported, reports_key
from tiffin.cache.store import MemoryStore

SCOPE = "tenant:scope:1"


async def test_each_report_halves_what_a_scope_may_get_wrong() -> None:
    store = MemoryStore(10_000)
    for _ in range(2):
        await report(store, SCOPE)
    assert allowed(0.02, await reported(store, SCOPE)) == 0.005
    assert await reported(store, "tenant:scope:2") == 0, "another scope is as before"


async def test_reports_are_counted_up_to_a_limit() -> None:
    store = MemoryStore(10_000)
    for _ in range(MOST + 3):
        await report(store, SCOPE)
    assert await reported(store, SCOPE) == MOST


async def test_a_count_that_cannot_be_read_allows_least() -> None:
    store = MemoryStore(10_000)
    await store.put(reports_key(SCOPE), b"\xff", 60, 0)
    assert await reported(store, SCOPE) == MOST
