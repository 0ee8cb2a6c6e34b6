"""Files and vector stores as OpenAI's own client calls them, over stand-ins of the models."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.corpora import HANDBOOK, TOWER, Hashed, asking, corpora, filled, ingested
from tests.support.services import entry
from tiffin.config.settings import Settings


async def test_a_file_is_stored_listed_read_and_deleted(settings: Settings) -> None:
    async with corpora(settings) as client:
        sent = await client.files.create(file=("a.md", b"# Hello"), purpose="user_data")
        assert (sent.filename, sent.bytes, sent.object) == ("a.md", 7, "file")
        assert [one.id async for one in client.files.list()] == [sent.id]
        assert (await client.files.content(sent.id)).content == b"# Hello"
        assert (await client.files.delete(sent.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(sent.id)


async def test_a_vector_store_is_filled_and_searched(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "help", {"handbook.md": HANDBOOK, "tower.txt": TOWER})
        assert (store.status, store.file_counts.completed) == ("completed", 2)
        found = await client.vector_stores.search(store.id, query="when are tickets refunded?")
        best = found.data[0]
        assert best.filename == "handbook.md"
        assert "refunded within 14 days" in best.content[0].text
        assert best.headings == ["Handbook", "Refunds"]  # type: ignore[attr-defined]
        assert 0 <= best.score <= 1


async def test_a_vector_store_says_how_it_is_on_disk(settings: Settings) -> None:
    services = Hashed()
    async with entry(services, settings) as http, asking(services) as client:
        assert "store" not in (await http.get("/readyz")).json()
        store = await filled(client, "help", {"handbook.md": HANDBOOK, "tower.txt": TOWER})
        async with asyncio.timeout(30):
            while (shown := (await http.get("/readyz")).json().get("store")) is None or shown[
                "unindexed_chunks"
            ]:
                await asyncio.sleep(0.05)
        health = (await http.get(f"/v1/vector_stores/{store.id}/health")).json()
        assert health.pop("version") > 0
        assert health == {
            "object": "vector_store.health",
            "id": store.id,
            "embedder": settings.embedding.model,
            "server_embedder": settings.embedding.model,
            "reembedding": None,
            "chunks": shown["chunks"],
            "unindexed_chunks": 0,
            "fragments": shown["most_fragments"],
            "compacted_at": shown["compacted_at"],
            "vectors": "scanned",
            "index_recall": None,
            "unindexed_vectors": None,
        }
        unknown = await http.get("/v1/vector_stores/vs_none/health")
        assert unknown.status_code == httpx.codes.NOT_FOUND


async def test_a_search_is_filtered_by_attributes_and_by_score(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await client.vector_stores.create(name="years")
        for year in (2023, 2024):
            text = f"The report of {year} is about tickets."
            sent = await client.files.create(
                file=(f"{year}.txt", text.encode()), purpose="user_data"
            )
            attributes: Any = {"year": year, "final": True}
            await client.vector_stores.files.create(
                vector_store_id=store.id, file_id=sent.id, attributes=attributes
            )
        await ingested(client, store.id)
        late: Any = {"type": "gte", "key": "year", "value": 2024}
        final: Any = {"type": "eq", "key": "final", "value": True}
        both: Any = {"type": "and", "filters": [late, final]}
        found = await client.vector_stores.search(store.id, query="report", filters=both)
        assert [one.filename for one in found.data] == ["2024.txt"]
        nothing = await client.vector_stores.search(
            store.id, query="report", ranking_options={"score_threshold": 1.0}
        )
        assert nothing.data == []
        plain = await client.vector_stores.search(
            store.id, query="report 2023", ranking_options={"ranker": "none"}, max_num_results=1
        )
        assert [one.filename for one in plain.data] == ["2023.txt"]


async def test_a_query_that_is_to_be_rewritten_is_refused(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await client.vector_stores.create(name="help")
        with pytest.raises(openai.BadRequestError, match="rewrite_query: true is not possible"):
            await client.vector_stores.search(store.id, query="x", rewrite_query=True)


async def test_a_batch_is_followed_until_it_is_done(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await client.vector_stores.create(name="batch")
        ids = [
            (
                await client.files.create(
                    file=(f"{n}.txt", f"number {n}".encode()), purpose="user_data"
                )
            ).id
            for n in range(5)
        ]
        batch = await client.vector_stores.file_batches.create_and_poll(
            store.id, file_ids=ids, poll_interval_ms=50
        )
        assert (batch.status, batch.file_counts.completed) == ("completed", 5)
        listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id)
        assert {one.id async for one in listed} == set(ids)


async def test_lists_come_in_pages(settings: Settings) -> None:
    async with corpora(settings) as client:
        made = [(await client.vector_stores.create(name=f"c{n}")).id for n in range(5)]
        first = await client.vector_stores.list(limit=2)
        assert ([one.id for one in first.data], first.has_more) == (made[:2:-1], True)
        assert [one.id async for one in client.vector_stores.list(limit=2)] == made[::-1]
        ascending = client.vector_stores.list(limit=2, order="asc", after=made[1])
        assert [one.id async for one in ascending] == made[2:]


async def test_a_file_that_cannot_be_read_says_so_and_the_rest_goes_on(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await client.vector_stores.create(name="mixed")
        bad = await client.files.create(file=("bad.pdf", b"%PDF-1.4 broken"), purpose="user_data")
        good = await client.files.create(file=("good.txt", TOWER.encode()), purpose="user_data")
        await client.vector_stores.file_batches.create(store.id, file_ids=[bad.id, good.id])
        shown = await ingested(client, store.id)
        assert (shown.file_counts.completed, shown.file_counts.failed) == (1, 1)
        failed = await client.vector_stores.files.retrieve(bad.id, vector_store_id=store.id)
        assert failed.last_error is not None
        assert "bad.pdf" in failed.last_error.message


async def test_what_is_taken_out_is_not_found_any_more(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "help", {"handbook.md": HANDBOOK, "tower.txt": TOWER})
        by_name = {one.filename: one.id async for one in client.files.list()}
        await client.vector_stores.files.delete(by_name["tower.txt"], vector_store_id=store.id)
        found = await client.vector_stores.search(store.id, query="tower in Paris")
        assert {one.filename for one in found.data} == {"handbook.md"}
        await client.files.delete(by_name["handbook.md"])
        assert (await client.vector_stores.search(store.id, query="tickets")).data == []
        assert (await client.vector_stores.delete(store.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.vector_stores.search(store.id, query="tickets")


async def test_wrong_values_are_refused_by_name(settings: Settings) -> None:
    services = Hashed()
    async with entry(services, settings) as http, asking(services) as client:
        store = await client.vector_stores.create(name="help")
        refused = [
            ("limit", await http.get("/v1/vector_stores?limit=0")),
            ("order", await http.get("/v1/files?order=up")),
            ("file", await http.post("/v1/files", data={"purpose": "user_data"})),
            ("purpose", await http.post("/v1/files", files={"file": ("a", b"x")})),
            ("file", await _sent(http, b"")),
            (
                "file_id",
                await http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": "x"}),
            ),
            ("query", await http.post(f"/v1/vector_stores/{store.id}/search", json={"query": " "})),
        ]
        for field, answer in refused:
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.json()["error"]["param"] == field, answer.text


async def _sent(http: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await http.post("/v1/files", files={"file": ("a", data)}, data={"purpose": "user_data"})


async def test_a_file_over_its_limit_is_not_read(settings: Settings) -> None:
    limits = settings.limits.model_copy(update={"file_bytes": 2048, "body_bytes": 1024})
    async with entry(Hashed(), settings.model_copy(update={"limits": limits})) as http:
        assert (await _sent(http, b"x" * 2000)).status_code == httpx.codes.OK
        assert (await _sent(http, b"x" * 200_000)).status_code == 413


async def test_what_waits_is_ingested_by_the_next_start(settings: Settings, tmp_path: Any) -> None:
    kept = settings.model_copy(update={"corpora": tmp_path})
    away = Hashed(delays_s={"embed": 3600})
    async with entry(away, kept), asking(away) as client:
        sent = await client.files.create(file=("tower.txt", TOWER.encode()), purpose="user_data")
        store = await client.vector_stores.create(name="later", file_ids=[sent.id])
        while "embed" not in away.calls:
            await asyncio.sleep(0.02)
    back = Hashed()
    async with entry(back, kept), asking(back) as client:
        assert (await ingested(client, store.id)).file_counts.completed == 1
        found = await client.vector_stores.search(store.id, query="tower")
        assert len(found.data) == 1


async def test_a_vector_store_is_embedded_anew_after_a_change_of_the_model(
    settings: Settings, tmp_path: Path
) -> None:
    kept = settings.model_copy(update={"corpora": tmp_path})
    async with corpora(kept) as client:
        store = await filled(client, "help", {"handbook.md": HANDBOOK, "tower.txt": TOWER})
    another = "ms-marco-minilm-l-12-v2"  # any name of the catalogue: a stand-in embeds
    other = kept.embedding.model_copy(update={"model": another})
    services = Hashed()
    async with (
        entry(services, kept.model_copy(update={"embedding": other})) as http,
        asking(services),
    ):
        path, question = f"/v1/vector_stores/{store.id}", {"query": "when are tickets refunded?"}
        found = await http.post(f"{path}/search", json=question)
        assert found.headers["x-tiffin-degraded"] == "other_embedder"
        assert found.json()["data"][0]["filename"] == "handbook.md"
        asked = {**question, "corpus": "help", "model": "quote"}
        answer = (await http.post("/rag_query", json=asked)).json()
        assert "refunded within 14 days" in answer["answer"]
        assert "other_embedder" in answer["degraded"]
        assert "searched by words only" in (await http.get("/readyz")).json()["corpora"]
        health = (await http.get(f"{path}/health")).json()
        assert (health["embedder"], health["server_embedder"]) == (kept.embedding.model, another)
        health = (await http.post(f"{path}/reembed")).json()
        assert health["reembedding"]["embedder"] == another
        async with asyncio.timeout(30):
            while health["reembedding"] is not None:
                await asyncio.sleep(0.05)
                health = (await http.get(f"{path}/health")).json()
        assert health["embedder"] == another
        found = await http.post(f"{path}/search", json=question)
        assert "x-tiffin-degraded" not in found.headers
        assert (await http.post("/rag_query", json=asked)).json()["degraded"] == []
        assert (await http.post(f"{path}/reembed")).json()["reembedding"] is None
