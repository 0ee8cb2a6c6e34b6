"""Looks at what is kept for one tenant, and removes it. Called by the routes of `/v1/cache`.

Reads all that a tenant has: not for the way of a request.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec

from tiffin.cache import entry, remembered
from tiffin.cache.keys import tenant_prefix
from tiffin.cache.reports import read, report
from tiffin.cache.store import Store

KINDS = ("chat", "rag", "scope")


class Item(msgspec.Struct, frozen=True):
    """One kept answer. `question` begins as what was asked did."""

    id: str
    kind: str
    tier: str
    created: float
    usd: float
    seconds: float
    bytes: int
    model: str = ""
    question: str = ""
    corpora: list[str] = []
    documents: list[str] = []


class _Source(msgspec.Struct, frozen=True):
    document_id: str | None = None


class _Route(msgspec.Struct, frozen=True):
    model: str = ""


class _Answer(msgspec.Struct, frozen=True):
    sources: list[_Source] = []
    route: _Route = _Route()


@dataclass(frozen=True)
class Upkeep:
    """Of one tenant. `ttl_s` is how long answers are kept."""

    store: Store
    tenant: str
    ttl_s: float

    async def items(self) -> AsyncGenerator[Item]:
        """All that is kept."""
        for kind in KINDS:
            for key in await self.store.keys(f"{tenant_prefix(self.tenant)}{kind}:"):
                for item in _read(key, kind, (await self.store.get(key)).value):
                    yield item

    async def find(self, name: str) -> Item | None:
        """The answer of that id; None if there is none."""
        for kind in KINDS:
            key = self._key(kind, name)
            for item in _read(key, kind, (await self.store.get(key)).value):
                if item.id == name:
                    return item
        return None

    async def remove(self, unwanted: Callable[[Item], bool]) -> int:
        """Remove those answers; returns how many there were.

        Nothing that is being computed now is kept either, because it may be one of them.
        """
        await self.store.renew(tenant_prefix(self.tenant))
        found = [item async for item in self.items() if unwanted(item)]
        for item in found:
            await self._remove(item)
        return len(found)

    async def remove_one(self, name: str) -> bool:
        """Remove the answer of that id; says whether there was one."""
        item = await self.find(name)
        if item is not None:
            await self._remove(item)
        return item is not None

    async def report(self, name: str) -> bool:
        """Remove a wrong answer; if it was one to other words, its scope is held to more.

        Says whether there was one.
        """
        item = await self.find(name)
        if item is not None:
            await self._remove(item)
            if item.kind == "scope":
                await report(self.store, self._key(item.kind, name))
        return item is not None

    async def reports(self) -> int:
        """How many reports count against the tenant's scopes."""
        keys = await self.store.keys(f"{tenant_prefix(self.tenant)}reports:")
        return sum([read((await self.store.get(key)).value) for key in keys])

    async def clear(self) -> int:
        """Remove all, also what is being computed now; returns how many entries there were."""
        return await self.store.clear(tenant_prefix(self.tenant))

    def _key(self, kind: str, name: str) -> str:
        return f"{tenant_prefix(self.tenant)}{kind}:{name.partition('-')[0]}"

    async def _remove(self, item: Item) -> None:
        key = self._key(item.kind, item.id)
        found = await self.store.get(key)
        await self.store.remove([key])
        if item.kind == "scope":
            left = [one for one in remembered.decode(found.value) if one.id != item.id]
            await self.store.put(key, remembered.encode(left), self.ttl_s, found.generation)


def _read(key: str, kind: str, value: bytes | None) -> list[Item]:
    """What an entry of the store holds: one answer, or those of a scope."""
    if value is None:
        return []
    if kind == "scope":
        return [_of_scope(one) for one in remembered.decode(value)]
    try:
        kept = entry.decode(value)
    except entry.BrokenError:
        return []
    answer = _answer(kept.payload) if kind == "rag" else _Answer()
    return [
        Item(
            key.rpartition(":")[2],
            kind,
            kept.tier,
            kept.created,
            kept.usd,
            kept.seconds,
            len(kept.payload),
            kept.model,
            kept.question,
            kept.corpora,
            _documents(answer),
        )
    ]


def _of_scope(one: remembered.Remembered) -> Item:
    answer = _answer(one.answer)
    return Item(
        one.id,
        "scope",
        one.tier,
        one.created,
        one.usd,
        one.seconds,
        len(one.answer),
        answer.route.model,
        one.question,
        one.corpora,
        _documents(answer),
    )


def _answer(payload: bytes) -> _Answer:
    """Of a kept answer to a question, what is looked at here."""
    try:
        return msgspec.json.decode(payload, type=_Answer)
    except msgspec.MsgspecError:
        return _Answer()


def _documents(answer: _Answer) -> list[str]:
    """The ids of the documents that an answer names as its sources."""
    return sorted({source.document_id for source in answer.sources if source.document_id})
