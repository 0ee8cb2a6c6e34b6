"""`/v1/responses` with the tool `file_search`, as OpenAI's own client calls it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.corpora import HANDBOOK, TOWER, Hashed, asking, corpora, filled
from tests.support.openai_schema import assert_valid
from tests.support.services import entry
from tiffin.config.settings import Settings
from tiffin.traffic.key_file import KeyFile

QUESTION = "when are tickets refunded?"
DOCUMENTS = {"handbook.md": HANDBOOK, "tower.txt": TOWER}


def searching(*stores: str, **fields: Any) -> Any:
    return [{"type": "file_search", "vector_store_ids": list(stores), **fields}]


def parts(answer: Any) -> tuple[Any, Any]:
    """The search and the message of an answer."""
    call, message = answer.output
    return call, message


async def test_an_answer_cites_the_files_that_it_was_found_in(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "help", DOCUMENTS)
        answer = await client.responses.create(
            model="quote",
            input=QUESTION,
            tools=searching(store.id),
            include=["file_search_call.results"],
        )
    assert_valid("Response", answer.to_dict(mode="json"))
    call, message = parts(answer)
    assert call.type == "file_search_call"
    assert (call.status, call.queries) == ("completed", [QUESTION])
    assert call.results is not None
    assert "refunded within 14 days" in (call.results[0].text or "")
    assert message.type == "message"
    cited = message.content[0].annotations[0]
    assert cited.type == "file_citation"
    assert (cited.filename, cited.file_id) == ("handbook.md", call.results[0].file_id)
    assert answer.output_text[: cited.index].endswith("within 14 days of the purchase.")


async def test_the_events_of_a_search_come_in_openai_s_order(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "help", DOCUMENTS)
        asked: Any = {"model": "quote", "input": QUESTION, "tools": searching(store.name)}
        stream = await client.responses.create(**asked, stream=True)
        events = [event async for event in stream]
        async with client.responses.stream(**asked) as parsed:
            answer = await parsed.get_final_response()
    for event in events:
        assert_valid("ResponseStreamEvent", event.to_dict(mode="json"))
    names = [event.type.removeprefix("response.") for event in events]
    assert list(dict.fromkeys(names)) == [  # what is said and cited more than once, once
        "created",
        "in_progress",
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "completed",
    ]
    call, message = parts(answer)
    assert call.type == "file_search_call"
    assert call.results is None
    cited = names.count("output_text.annotation.added")
    assert len(message.content[0].annotations) == cited


async def test_a_model_writes_from_several_stores_by_name(settings: Settings) -> None:
    services = Hashed()
    async with entry(services, settings), asking(services) as client:
        for name, text in DOCUMENTS.items():
            await filled(client, name, {name: text})
        answer = await client.responses.create(
            model="small",
            input="when are tickets refunded in Paris?",
            tools=searching(*DOCUMENTS),
            include=["file_search_call.results"],
            max_output_tokens=50,
        )
    assert answer.output_text == "The tower is 324 metres tall."
    results = parts(answer)[0].results
    assert {one.filename for one in results} == set(DOCUMENTS)
    assert services.prompts[0].max_tokens == 50
    assert (answer.temperature, answer.model) == (0.0, "model-small")


async def test_filters_thresholds_and_the_number_of_results_hold(settings: Settings) -> None:
    async with corpora(settings) as client:
        store = await client.vector_stores.create(name="years")
        for year in (2022, 2023, 2024):
            sent = await client.files.create(
                file=(f"{year}.txt", f"tickets of {year} cost {year} euros".encode()),
                purpose="user_data",
            )
            attributes: Any = {"year": year}
            await client.vector_stores.files.create_and_poll(
                sent.id, vector_store_id=store.id, attributes=attributes, poll_interval_ms=20
            )

        async def found(**fields: Any) -> list[str]:
            answer = await client.responses.create(
                model="quote",
                input="what do tickets of 2023 cost?",
                tools=searching(store.id, **fields),
                include=["file_search_call.results"],
            )
            return [one.filename for one in parts(answer)[0].results]

        late = {"type": "gte", "key": "year", "value": 2024}
        assert await found(filters=late) == ["2024.txt"]
        assert await found(max_num_results=1) == ["2023.txt"]
        assert await found(ranking_options={"score_threshold": 1.0}) == []
        words = {"embedding_weight": 0, "text_weight": 1}
        assert (await found(ranking_options={"hybrid_search": words}))[0] == "2023.txt"


async def test_what_the_documents_do_not_say_is_said_without_a_citation(
    settings: Settings,
) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "empty", {})
        answer = await client.responses.create(
            model="auto", input=QUESTION, tools=searching(store.id)
        )
    assert parts(answer)[1].content[0].annotations == []
    assert answer.status == "completed"


async def test_a_conversation_is_searched_for_its_last_turn_and_says_so(
    settings: Settings,
) -> None:
    async with corpora(settings) as client:
        store = await filled(client, "help", DOCUMENTS)
        tools = searching(store.id)
        first = await client.responses.create(model="quote", input="how tall?", tools=tools)
        turns: Any = [
            {"role": "user", "content": "how tall?"},
            *(item.to_dict() for item in first.output),
            {"role": "user", "content": QUESTION},
        ]
        raw = await client.responses.with_raw_response.create(
            model="quote", input=turns, tools=tools, instructions="Be brief."
        )
    assert "refunded within 14 days" in raw.parse().output_text
    assert raw.headers["x-tiffin-degraded"] == "instructions,conversation"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": searching("nowhere")}, "tools[0].vector_store_ids[0]"),
        ({"tools": searching()}, "tools[0].vector_store_ids"),
        ({"tools": searching("x", max_num_results=51)}, "tools[0].max_num_results"),
        ({"tools": searching("x", ranking_options={"ranker": "none"})}, "tools[0].ranking_options"),
        (
            {"tools": [*searching("x"), {"type": "function", "name": "weather"}]},
            "tools",
        ),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"input": [{"role": "assistant", "content": "hello"}]}, "input"),
        ({"tools": None, "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ],
)
async def test_what_a_search_cannot_do_is_refused_by_name(
    settings: Settings, change: dict[str, Any], param: str
) -> None:
    body = {"model": "quote", "input": QUESTION, "tools": searching("x"), **change}
    async with entry(Hashed(), settings) as http:
        for stream in (False, True):
            response = await http.post("/v1/responses", json=body | {"stream": stream})
            assert response.status_code in {400, 404, 422}, response.text
            assert response.json()["error"]["param"] == param, response.text


async def test_a_store_that_was_deleted_is_not_found_and_its_chunks_go(
    settings: Settings, tmp_path: Path
) -> None:
    async with corpora(settings.model_copy(update={"corpora": tmp_path})) as client:
        store = await filled(client, "help", DOCUMENTS)
        await client.vector_stores.delete(store.id)
        with pytest.raises(openai.NotFoundError, match="there is none named"):
            await client.responses.create(
                model="quote", input=QUESTION, tools=searching(store.id), stream=True
            )
        async with asyncio.timeout(30):
            while any((tmp_path / "chunks").iterdir()):
                await asyncio.sleep(0.05)


async def test_a_store_of_another_tenant_is_not_there(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {name: KeyFile(file).create(name) for name in ("one", "two")}
    access = settings.access.model_copy(update={"keys_file": file})
    services = Hashed()
    async with entry(services, settings.model_copy(update={"access": access})) as http:
        async with asking(services, keys["one"]) as client:
            store = await filled(client, "help", DOCUMENTS)
        body = {"model": "quote", "input": QUESTION, "tools": searching(store.id)}
        headers = {"authorization": f"Bearer {keys['two']}"}
        refused = await http.post("/v1/responses", json=body, headers=headers)
    assert refused.status_code == httpx.codes.NOT_FOUND
    assert refused.json()["error"]["param"] == "tools[0].vector_store_ids[0]"
