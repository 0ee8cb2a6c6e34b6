"""An answer that is held to a schema, by engines that write what they like."""

import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from models.engines.constrained import held
from models.engines.constraint import constraint
from models.engines.grammar import Grammar
from models.errors import NotSupported
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage

CITY = {"type": "object", "properties": {"city": {"enum": ["Köln", "Rome"]}}, "required": ["city"]}
USAGE = TokenUsage(prompt_tokens=1, completion_tokens=1)


class Engine:
    """Writes these pieces of text, then ends for that reason."""

    def __init__(self, *pieces: str, reason: Any = "stop") -> None:
        self.events: list[TokenEvent] = [*map(TextDelta, pieces), Finished(reason, USAGE)]
        self.grammar: Grammar | None = None
        self.closed = False

    async def generate(
        self, _: GenerateRequest, grammar: Grammar | None
    ) -> AsyncGenerator[TokenEvent, None]:
        self.grammar = grammar
        try:
            for event in self.events:
                yield event
        finally:
            self.closed = True

    async def answer(self, **fields: Any) -> list[TokenEvent]:
        request = GenerateRequest(
            messages=[ChatMessage("user", "Where?")], **{"json_schema": CITY, **fields}
        )
        return [event async for event in held(self.generate, request)]


@pytest.mark.parametrize("pieces", [['{"city": "Köln"}'], ['{"ci', 'ty": "K', "ö", 'ln"', "}"]])
async def test_an_answer_that_fits_passes_unchanged(pieces: Sequence[str]) -> None:
    engine = Engine(*pieces)
    assert await engine.answer() == engine.events
    assert engine.grammar is not None
    assert "Rome" in engine.grammar.rules


async def test_without_a_schema_there_is_nothing_to_hold() -> None:
    engine = Engine("Well,", " somewhere.")
    assert await engine.answer(json_schema=None) == engine.events
    assert engine.grammar is None


@pytest.mark.parametrize(
    "pieces",
    [
        ["In Rome."],
        ['{"city"', ': "Paris"}'],
        ['{"city": "Rome"}', " or so"],
        ['{"city": "Ro'],
        ["{"],
        [],
    ],
)
async def test_an_engine_that_lets_go_of_the_schema_fails(pieces: Sequence[str]) -> None:
    engine = Engine(*pieces)
    with pytest.raises(NotSupported, match="gave up") as failed:
        await engine.answer()
    assert (failed.value.field, engine.closed) == ("json_schema", True)


async def test_an_answer_may_be_cut_by_its_limit_or_a_stop_string() -> None:
    cut = Engine('{"city": "Ro', reason="length")
    assert await cut.answer() == cut.events
    stopped = Engine('{"city": "Ro')
    assert await stopped.answer(stop=["m"]) == stopped.events


async def test_a_schema_that_cannot_be_held_to_begins_nothing() -> None:
    engine = Engine("1")
    with pytest.raises(NotSupported, match="uniqueItems"):
        await engine.answer(json_schema={"type": "array", "uniqueItems": True})
    assert engine.grammar is None


async def test_a_schema_is_compiled_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest take 0.1 s, in which no other stream would move."""
    threads = []

    def noted(request: GenerateRequest) -> Grammar:
        threads.append(threading.current_thread())
        return constraint(request)

    monkeypatch.setattr("models.engines.constrained.constraint", noted)
    await Engine('{"city": "Rome"}').answer()
    assert threads
    assert threading.main_thread() not in threads
