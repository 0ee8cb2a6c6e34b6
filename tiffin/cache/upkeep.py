"""Looks at what is kept for one tenant, and removes it. Called by the routes of `/v1/cache`.

Reads all that a tenant has: not for the way of a request.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec

from tiffin.cache import entry, remembered
from tiffin.cache.keys import tenant_prefix
from tiffin.cache.store import Store

KINDS = ("chat", "rag", "scope")


class Item(msgspec.Struct, frozen=True):
    """One kept answer. `question` is known of those that may be given to other wordings."""

    id: str
    kind: str
    tier: str
    created: float
    usd: float
    seconds: float
    bytes: int
    question: str | None = None
    documents: list[str] = []


class _Source(msgspec.Struct, frozen=True):
    document_id: str | None = None


class _Sources(msgspec.Struct, frozen=True):
    sources: list[_Source] = []


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
        """Remove those answers; returns how many there were."""
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
        return [
            Item(
                one.id, kind, one.tier, one.created, one.usd, one.seconds, len(one.answer),
                one.question, _documents(one.answer),
            )
            for one in remembered.decode(value)
        ]  # fmt: skip
    try:
        kept = entry.decode(value)
    except entry.BrokenError:
        return []
    documents = _documents(kept.payload) if kind == "rag" else []
    name = key.rpartition(":")[2]
    return [
        Item(
            name, kind, kept.tier, kept.created, kept.usd, kept.seconds, len(kept.payload),
            documents=documents,
        )
    ]  # fmt: skip


def _documents(answer: bytes) -> list[str]:
    """The ids of the documents that an answer names as its sources."""
    try:
        sources = msgspec.json.decode(answer, type=_Sources).sources
    except msgspec.MsgspecError:
        return []
    return sorted({source.document_id for source in sources if source.document_id})
