"""Starting a service alone: what is missing or wrong ends the start with one line."""

from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
import pytest

from service import RAG
from tests.support.serving import served
from tiffin.config.section import SettingsError
from tiffin.config.settings import load_settings
from tiffin.config.topology import dependencies
from tiffin.core.messages import ServiceHealth
from tiffin.deploy import alone
from tiffin.transport.server import RpcApp

TOKEN = "a token of sixteen bytes or more"  # noqa: S105
SETTINGS = load_settings()
ALL = [f"{name}=http://127.0.0.1:1" for name in dependencies(SETTINGS)["RAG"]]


def test_the_topology_is_that_of_the_services() -> None:
    declared = {dependency.on.name for dependency in cast("Any", RAG).dependencies.values()}
    assert declared == set(dependencies(SETTINGS)["RAG"])


@pytest.mark.parametrize(
    ("service", "words", "says"),
    [
        ("Rag", [], "Rag: profile laptop has no such service; it has: Embedding, Reranker"),
        ("RAG", ALL[1:], "RAG needs the address of Embedding: add to BENTOML_SERVE_DEPENDS"),
        ("RAG", [*ALL, "Embeding=http://a:1"], "RAG does not call 'Embeding'; the services it"),
        ("RAG", [*ALL, ALL[0]], "RAG: the address of Embedding is given twice"),
        (
            "RAG",
            ["Router=router:3000", *ALL],
            "Router must be http://HOST:PORT or https://HOST",
        ),
        ("RAG", ["Router=http://r:x", *ALL], "HOST, not 'http://r:x'"),
        ("Embedding", ALL[:1], "Embedding does not call 'Embedding'; the services it calls: none"),
    ],
)
def test_wrong_words_are_refused(service: str, words: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says.replace("?", r"\?")) as caught:
        alone.check_addresses(service, words, SETTINGS)
    assert "\n" not in str(caught.value)


def test_without_a_token_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIFFIN_INTERNAL__TOKEN", raising=False)
    with pytest.raises(SettingsError, match="TIFFIN_INTERNAL__TOKEN is needed and not set"):
        alone.check_token(load_settings())


@pytest.fixture
async def router() -> AsyncGenerator[str, None]:
    async def healthy() -> ServiceHealth:
        return ServiceHealth(ready=True)

    app = RpcApp("Router", max_body_bytes=1024, max_in_flight=8)
    app.health(healthy)
    async with served(app) as url:
        yield url


async def test_the_right_service_is_accepted(router: str) -> None:
    await alone.await_services({"Router": router}, TOKEN, wait_s=5)


async def test_another_service_is_refused_at_once(router: str) -> None:
    with pytest.raises(SettingsError, match="is given as Reranker and is Router"):
        await alone.await_services({"Reranker": router}, TOKEN, wait_s=60)


async def test_another_protocol_is_refused_with_both_versions(
    router: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    def newer(name: str, url: str, health: ServiceHealth) -> None:
        check(name, url, msgspec.structs.replace(health, version="9.9", protocol=99))

    check = alone._check_identity  # noqa: SLF001
    monkeypatch.setattr(alone, "_check_identity", newer)
    with pytest.raises(
        SettingsError, match=r"is Tiffin 9\.9 and speaks protocol 99; this is Tiffin"
    ):
        await alone.await_services({"Router": router}, TOKEN, wait_s=60)


async def test_an_address_where_nothing_answers_is_given_up(tmp_path: object) -> None:
    with pytest.raises(SettingsError, match=r"Router does not answer at .* after 0 s"):
        await alone.await_services({"Router": f"file://{tmp_path}/none"}, TOKEN, wait_s=0)


async def test_a_service_that_may_sleep_is_not_waited_for(tmp_path: object) -> None:
    asleep = {"LargeLLM": f"file://{tmp_path}/none"}
    await alone.await_services(asleep, TOKEN, wait_s=60, may_sleep=frozenset({"LargeLLM"}))


async def test_another_service_in_its_place_is_refused_all_the_same(router: str) -> None:
    with pytest.raises(SettingsError, match="is given as LargeLLM and is Router"):
        await alone.await_services(
            {"LargeLLM": router}, TOKEN, wait_s=60, may_sleep=frozenset({"LargeLLM"})
        )
