"""What every LLM engine must do, as stories that take an engine. Run by the engines' own tests."""

import asyncio
import time
from contextlib import aclosing

import pytest

from models.engines.protocol import LLMEngine
from models.errors import InputTooLong
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta

ENDLESS = "Tell me a very long story about a king and his seven daughters."


def ask(question: str, **options: object) -> GenerateRequest:
    fields = {"max_tokens": 24, **options}
    return GenerateRequest(messages=[ChatMessage("user", question)], **fields)  # type: ignore[arg-type]


async def answer(engine: LLMEngine, request: GenerateRequest) -> tuple[str, Finished, list[str]]:
    """The whole text, the end, and the pieces it came in."""
    events = [event async for event in engine.generate(request)]
    finished = events.pop()
    assert isinstance(finished, Finished)
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(pieces) == len(events), "Finished comes once, last"
    assert all(pieces), "no piece is empty"
    return "".join(pieces), finished, pieces


async def a_greedy_answer_is_right_and_the_same_twice(engine: LLMEngine) -> None:
    first, finished, _ = await answer(engine, ask("What is the capital of Japan?"))
    second, _, _ = await answer(engine, ask("What is the capital of Japan?"))
    assert "Tokyo" in first
    assert first == second
    assert finished.reason == "stop"


async def usage_counts_what_was_read_and_written(engine: LLMEngine) -> None:
    request = ask(ENDLESS, max_tokens=10)
    _, finished, _ = await answer(engine, request)
    assert finished.reason == "length"
    assert finished.usage.completion_tokens == 10
    assert finished.usage.prompt_tokens == await engine.count_tokens(request.messages)


async def an_answer_comes_in_pieces_of_whole_characters(engine: LLMEngine) -> None:
    request = ask("Repeat exactly: 😀 漢字 naïve 😀 漢字", max_tokens=40, temperature=0.0)
    text, _, pieces = await answer(engine, request)
    assert len(pieces) > 3
    assert "\ufffd" not in text


async def a_stop_string_ends_the_answer_before_it(engine: LLMEngine) -> None:
    whole, _, _ = await answer(engine, ask("What is the capital of Japan?"))
    text, finished, _ = await answer(engine, ask("What is the capital of Japan?", stop=[" Tokyo"]))
    assert " Tokyo" in whole
    assert text == whole.split(" Tokyo")[0]
    assert finished.reason == "stop"


async def a_seed_repeats_an_answer_and_another_seed_does_not(engine: LLMEngine) -> None:
    one, again, other = [
        (await answer(engine, ask("Tell me a story.", temperature=1.0, seed=seed)))[0]
        for seed in (1, 1, 2)
    ]
    assert one == again != other


async def a_client_that_leaves_stops_generation(engine: LLMEngine) -> None:
    async with aclosing(engine.generate(ask(ENDLESS, max_tokens=900))) as events:
        await anext(events)
    async with asyncio.timeout(1):
        while (await engine.health()).running:
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await answer(engine, ask("Hello", max_tokens=1))
    assert time.monotonic() - began < 2, "the engine is free again"


async def a_cancelled_reader_stops_generation(engine: LLMEngine) -> None:
    task = asyncio.create_task(answer(engine, ask(ENDLESS, max_tokens=900)))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.health()).running == 0


async def many_at_once_each_get_their_own_answer(engine: LLMEngine) -> None:
    countries = ("Japan", "Germany") * 2
    answers = await asyncio.gather(
        *(answer(engine, ask(f"What is the capital of {country}?")) for country in countries)
    )
    cities = ("Tokyo", "Berlin") * 2
    assert all(city in text for city, (text, _, _) in zip(cities, answers, strict=True))


async def a_prompt_that_does_not_fit_is_refused_with_numbers(engine: LLMEngine) -> None:
    request = ask("word " * engine.context_tokens, max_tokens=10)
    with pytest.raises(InputTooLong, match=f"the limit is {engine.context_tokens}"):
        await anext(engine.generate(request))


async def an_answer_may_fill_the_context_and_no_more(engine: LLMEngine) -> None:
    messages = [ChatMessage("user", ENDLESS)]
    room = engine.context_tokens - await engine.count_tokens(messages)
    fits = engine.generate(ask(ENDLESS, max_tokens=room))
    await anext(fits)
    await fits.aclose()
    with pytest.raises(InputTooLong):
        await anext(engine.generate(ask(ENDLESS, max_tokens=room + 1)))


STORIES = (
    a_greedy_answer_is_right_and_the_same_twice,
    usage_counts_what_was_read_and_written,
    an_answer_comes_in_pieces_of_whole_characters,
    a_stop_string_ends_the_answer_before_it,
    a_seed_repeats_an_answer_and_another_seed_does_not,
    a_client_that_leaves_stops_generation,
    a_cancelled_reader_stops_generation,
    many_at_once_each_get_their_own_answer,
    a_prompt_that_does_not_fit_is_refused_with_numbers,
    an_answer_may_fill_the_context_and_no_more,
)
