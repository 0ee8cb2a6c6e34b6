"""Each store of answers by the contract, and what is its own."""

import pytest

from tests.cache.contract import ONE, StoreContract, keep
from tiffin.cache.store import MemoryStore


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(1 << 20)


async def test_memory_is_bounded_and_what_was_asked_for_longest_goes_first() -> None:
    store = MemoryStore(10_000)
    for number in range(100):
        await keep(store, f"{ONE}rag:{number}", bytes(100))
        await store.get(f"{ONE}rag:0")
        assert store.used_bytes <= 10_000
    kept = await store.keys(ONE)
    assert f"{ONE}rag:0" in kept, "it is asked for all the time"
    assert f"{ONE}rag:1" not in kept
    assert f"{ONE}rag:99" in kept


async def test_one_value_cannot_drive_out_all_others() -> None:
    store = MemoryStore(10_000)
    await keep(store, f"{ONE}rag:1", bytes(100))
    await keep(store, f"{ONE}rag:2", bytes(5_000))
    assert await store.keys(ONE) == [f"{ONE}rag:1"]


async def test_removed_values_give_their_memory_back() -> None:
    store = MemoryStore(10_000)
    await keep(store, f"{ONE}rag:1", bytes(500))
    await keep(store, f"{ONE}rag:1", bytes(100))
    await store.remove([f"{ONE}rag:1"])
    assert (len(store), store.used_bytes) == (0, 0)
