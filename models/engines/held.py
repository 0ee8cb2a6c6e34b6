"""An answer that is held to a JSON schema: checked before it begins, followed while it comes.

Both LLM engines generate through `held`. Their own llguidance may give up on a schema amid an
answer, where too many ways to go on are open; llama.cpp then goes on without a grammar, and vLLM
ends the answer where it is. Neither says so. A matcher that reads the text along does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from models.engines.grammar import Grammar, grammar_of
from models.errors import NotSupported
from models.values import Finished, GenerateRequest, TextDelta, TokenEvent

Generate = Callable[[GenerateRequest, Grammar | None], AsyncGenerator[TokenEvent, None]]


def held(generate: Generate, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
    """The events of `generate`, which is given the grammar of the request's schema, if any.

    Raises NotSupported where the schema is none that an answer can be held to, and amid the answer
    where the engine gave up on it.
    """
    return generate(request, None) if request.json_schema is None else _followed(generate, request)


async def _followed(
    generate: Generate, request: GenerateRequest
) -> AsyncGenerator[TokenEvent, None]:
    grammar = await asyncio.to_thread(grammar_of, request.json_schema or {})
    matcher = grammar.matcher.deep_copy()
    async with aclosing(generate(request, grammar)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                fits = matcher.consume_tokens(list(event.text.encode()))
            else:
                fits = _may_end(event, request) or matcher.is_accepting()
            if not fits:
                raise gave_up()
            yield event


def _may_end(event: TokenEvent, request: GenerateRequest) -> bool:
    """Whether an answer may end here that is no whole JSON: it was cut, as was asked for."""
    return isinstance(event, Finished) and (event.reason == "length" or bool(request.stop))


def gave_up() -> NotSupported:
    """What to tell of a schema that the engine could not hold the answer to."""
    return NotSupported("json_schema", "too complex: the engine gave up on it amid the answer")
