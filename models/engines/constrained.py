"""Constrained answers: the grammar is checked before generation and followed during it.

Both LLM engines generate through this module. Their own llguidance may give up on a schema in the
middle of an answer if there are too many ways to continue; llama.cpp then continues without a
grammar, and vLLM ends the answer where it is. Neither reports this, but our own matcher reads the
same text and notices.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from models.engines.constraint import constraint, is_constrained
from models.engines.grammar import Grammar
from models.engines.markers import Guard, unguarded
from models.engines.tools import plain
from models.errors import NotSupported
from models.values import Finished, GenerateRequest, TextDelta, TokenEvent

Generate = Callable[[GenerateRequest, Grammar | None], AsyncGenerator[TokenEvent, None]]


def held(
    generate: Generate, request: GenerateRequest, guard: Guard = unguarded
) -> AsyncGenerator[TokenEvent, None]:
    """The events of `generate`, given the request without tools and the grammar that it asks for.

    Its texts have gone through `guard`.

    Raises NotSupported for a schema that cannot be enforced, and in the middle of the answer if the
    engine gave up on the schema.
    """
    asked = plain(request, guard)
    if not is_constrained(request):
        return generate(asked, None)
    return _followed(generate, asked, request)


async def _followed(
    generate: Generate, asked: GenerateRequest, request: GenerateRequest
) -> AsyncGenerator[TokenEvent, None]:
    grammar = await asyncio.to_thread(constraint, request)
    matcher = grammar.matcher
    async with aclosing(generate(asked, grammar)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                fits = matcher.consume_tokens(list(event.text.encode()))
            else:
                fits = _may_end(event, request) or matcher.is_accepting()
            if not fits:
                raise gave_up()
            yield event


def _may_end(event: TokenEvent, request: GenerateRequest) -> bool:
    """Whether an answer may end here with incomplete JSON, because the request asked to cut it."""
    return isinstance(event, Finished) and (event.reason == "length" or bool(request.stop))


def gave_up() -> NotSupported:
    """The error for a schema that the engine could not enforce."""
    return NotSupported("json_schema", "too complex: the engine gave up on it during the answer")
