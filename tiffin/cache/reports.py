"""Wrong answers that were reported, by scope: each halves how often a scope may be wrong.

`POST /v1/cache/feedback` adds one, through `tiffin.cache.upkeep`, and the `recall` stage asks for
them before it gives a kept answer to a question in other words. They stand in the store next to
the answers, so that all replicas know them, and `clear` forgets them.
"""

from tiffin.cache.store import Store

MOST = 8
"""Reports of one scope that are counted: by then no head is sure enough to give anything."""

KEPT_S = 30 * 86400
"""How long a report counts."""


def reports_key(scope: str) -> str:
    """Where the reports of a scope stand, by the scope's own key."""
    return scope.replace(":scope:", ":reports:")


async def reported(store: Store, scope: str) -> int:
    """How many answers of a scope were reported as wrong; 0 if the store is away."""
    return read((await store.get(reports_key(scope))).value)


async def report(store: Store, scope: str) -> None:
    """One more. Two in the same millisecond, on two replicas, may count as one."""
    found = await store.get(reports_key(scope))
    count = min(read(found.value) + 1, MOST)
    await store.put(reports_key(scope), str(count).encode(), KEPT_S, found.generation)


def allowed(wrong_hits: float, reports: int) -> float:
    """The share of wrong hits that a scope may still have."""
    return wrong_hits * 0.5**reports


def read(value: bytes | None) -> int:
    """The number in an entry of the store; 0 if there is none, `MOST` if it cannot be read."""
    if value is None:
        return 0
    return min(int(value), MOST) if value.isdigit() else MOST
