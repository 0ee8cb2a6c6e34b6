"""Questions to a corpus: with and without documents, and whose it is."""

from pathlib import Path

import httpx

from tests.support.corpora import HANDBOOK, TOWER, Hashed, asking, filled
from tests.support.services import entry
from tiffin.config.settings import Settings
from tiffin.traffic.key_file import KeyFile

QUESTION = {"query": "when are tickets refunded?", "corpus": "help", "model": "quote"}


async def fill(services: Hashed, documents: dict[str, str], key: str = "none") -> str:
    """A corpus called help; its id."""
    async with asking(services, key) as client:
        store = await filled(client, "help", documents)
        return str(store.id)


async def test_a_corpus_answers_and_its_documents_are_not_embedded_again(
    settings: Settings,
) -> None:
    services = Hashed()
    async with entry(services, settings) as http:
        await fill(services, {"handbook.md": HANDBOOK, "tower.txt": TOWER})
        services.embedded.clear()
        answer = (await http.post("/rag_query", json=QUESTION)).json()
        assert services.embedded[0] == [QUESTION["query"]]  # the evidence embeds sentences later
        assert "refunded within 14 days" in answer["answer"]
        source = answer["sources"][answer["citations"][0]["source"] - 1]
        assert (source["title"], source["headings"]) == ("handbook.md", ["Handbook", "Refunds"])
        assert source["document"] is None
        assert source["end"] - source["start"] == len(source["text"])


async def test_documents_and_a_corpus_answer_together(settings: Settings) -> None:
    services = Hashed()
    async with entry(services, settings) as http:
        await fill(services, {"handbook.md": HANDBOOK})
        asked = QUESTION | {"documents": ["Tickets are refunded by the shop."], "top_n": 2}
        sources = (await http.post("/rag_query", json=asked)).json()["sources"]
        assert {source["document"] for source in sources} == {0, None}


async def test_a_corpus_without_hits_says_that_the_documents_do_not_say(
    settings: Settings,
) -> None:
    services = Hashed()
    async with entry(services, settings) as http:
        await fill(services, {})
        answer = (await http.post("/rag_query", json=QUESTION)).json()
        assert not answer["answered"]
        assert (answer["sources"], answer["citations"]) == ([], [])


async def test_the_words_find_it_while_the_embedding_is_away(settings: Settings) -> None:
    services = Hashed()
    async with entry(services, settings) as http:
        await fill(services, {"handbook.md": HANDBOOK, "tower.txt": TOWER})
        services.delays_s["embed"] = 3600
        answer = (await http.post("/rag_query", json=QUESTION)).json()
        assert "refunded within 14 days" in answer.get("answer", ""), answer
        assert "embed" in answer["degraded"]


async def test_a_corpus_that_is_not_there_is_named(settings: Settings) -> None:
    async with entry(Hashed(), settings) as http:
        missing = await http.post("/rag_query", json=QUESTION)
        nothing = await http.post("/rag_query", json={"query": "when?"})
    assert missing.status_code == httpx.codes.NOT_FOUND
    assert missing.json()["error"]["param"] == "corpus"
    assert nothing.status_code == httpx.codes.BAD_REQUEST
    assert nothing.json()["error"]["param"] == "documents"


async def test_a_tenant_sees_nothing_of_another(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {name: KeyFile(file).create(name) for name in ("one", "two")}
    access = settings.access.model_copy(update={"keys_file": file})
    services = Hashed()
    async with entry(services, settings.model_copy(update={"access": access})) as http:
        texts = {"one": HANDBOOK, "two": "Tickets of the other house are refunded never."}
        stores = {
            name: await fill(services, {f"{name}.md": texts[name]}, key)
            for name, key in keys.items()
        }
        for name, other in (("one", "two"), ("two", "one")):
            headers = {"authorization": f"Bearer {keys[name]}"}
            answer = await http.post("/rag_query", json=QUESTION, headers=headers)
            assert {source["title"] for source in answer.json()["sources"]} == {f"{name}.md"}
            theirs = stores[other]
            asked = QUESTION | {"corpus": theirs}
            assert (await http.post("/rag_query", json=asked, headers=headers)).status_code == 404
            listed = (await http.get("/v1/vector_stores", headers=headers)).json()["data"]
            assert [one["id"] for one in listed] == [stores[name]]
            paths = (f"vector_stores/{theirs}", f"vector_stores/{theirs}/files", "files/x")
            for path in paths:
                refused = await http.get(f"/v1/{path}", headers=headers)
                assert refused.status_code == httpx.codes.NOT_FOUND
