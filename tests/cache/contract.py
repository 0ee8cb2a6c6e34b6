"""What every store of answers must do. `test_stores.py` runs these against each."""

import asyncio

from tiffin.cache.store import Store

ONE, OTHER = "aaaaaaaaaaaaaaaa:", "bbbbbbbbbbbbbbbb:"


async def keep(store: Store, key: str, value: bytes, ttl_s: float = 60.0) -> None:
    await store.put(key, value, ttl_s, (await store.get(key)).generation)


class StoreContract:
    async def test_what_was_put_is_there_until_it_is_removed(self, store: Store) -> None:
        assert (await store.get(f"{ONE}chat:1")).value is None
        await keep(store, f"{ONE}chat:1", b"\x00value\xff")
        assert (await store.get(f"{ONE}chat:1")).value == b"\x00value\xff"
        assert await store.remove([f"{ONE}chat:1", f"{ONE}chat:2"]) == 1
        assert (await store.get(f"{ONE}chat:1")).value is None

    async def test_a_newer_value_replaces_the_older(self, store: Store) -> None:
        await keep(store, f"{ONE}rag:1", b"old")
        await keep(store, f"{ONE}rag:1", b"new")
        assert (await store.get(f"{ONE}rag:1")).value == b"new"
        assert await store.keys(ONE) == [f"{ONE}rag:1"]

    async def test_a_value_is_forgotten_when_its_time_is_over(self, store: Store) -> None:
        await keep(store, f"{ONE}rag:1", b"short", ttl_s=0.05)
        await keep(store, f"{ONE}rag:2", b"long")
        await asyncio.sleep(0.1)
        assert (await store.get(f"{ONE}rag:1")).value is None
        assert (await store.get(f"{ONE}rag:2")).value == b"long"

    async def test_keys_are_found_by_their_beginning(self, store: Store) -> None:
        for key in (f"{ONE}chat:1", f"{ONE}rag:1", f"{OTHER}chat:1"):
            await keep(store, key, b"x")
        assert sorted(await store.keys(ONE)) == [f"{ONE}chat:1", f"{ONE}rag:1"]
        assert await store.keys(f"{OTHER}rag:") == []

    async def test_clearing_a_tenant_leaves_the_others_alone(self, store: Store) -> None:
        await keep(store, f"{ONE}chat:1", b"x")
        await keep(store, f"{OTHER}chat:1", b"y")
        assert await store.clear(ONE) == 1
        assert (await store.get(f"{ONE}chat:1")).value is None
        assert (await store.get(f"{OTHER}chat:1")).value == b"y"

    async def test_what_was_computed_before_a_clear_is_not_kept_after_it(
        self, store: Store
    ) -> None:
        began = (await store.get(f"{ONE}rag:1")).generation
        others = (await store.get(f"{OTHER}rag:1")).generation
        await store.clear(ONE)
        await store.put(f"{ONE}rag:1", b"from before", 60, began)
        await store.put(f"{OTHER}rag:1", b"of another", 60, others)
        assert (await store.get(f"{ONE}rag:1")).value is None
        assert (await store.get(f"{OTHER}rag:1")).value == b"of another"

    async def test_no_writer_brings_back_what_is_being_cleared(self, store: Store) -> None:
        async def write(number: int) -> None:
            found = await store.get(f"{ONE}rag:{number}")
            await asyncio.sleep(0)
            await store.put(f"{ONE}rag:{number}", b"from before", 60, found.generation)

        writers = [asyncio.create_task(write(number)) for number in range(200)]
        await asyncio.sleep(0)
        await store.clear(ONE)
        await asyncio.gather(*writers)
        after = (await store.get(f"{ONE}rag:new")).generation
        await store.put(f"{ONE}rag:new", b"from after", 60, after)
        values = [(await store.get(key)).value for key in await store.keys(ONE)]
        assert b"from after" in values
        cleared = (await store.get(f"{ONE}rag:0")).generation
        assert cleared == after, "one clear is one generation, no matter how many write"
