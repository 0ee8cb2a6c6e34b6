"""An answer that is held to its form: checked before it begins, followed while it comes.

Both LLM engines generate through `held`. Their own llguidance may give up on a schema amid an
answer, where too many ways to go on are open; llama.cpp then goes on without a grammar, and vLLM
ends the answer where it is. Neither says so. A matcher that reads the text along does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from models.engines.constraint import constraint, is_constrained
from models.engines.grammar import Grammar
from models.engines.tools import plain
from models.errors import NotSupported
from models.values import Finished, GenerateRequest, TextDelta, TokenEvent

Generate = Callable[[GenerateRequest, Grammar | None], AsyncGenerator[TokenEvent, None]]


def held(generate: Generate, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
    """The events of `generate`, given the request without tools and the grammar that it asks for.

    Raises NotSupported for a schema that no answer can be held to, and amid the answer where the
    engine gave up on it.
    """
    asked = plain(request)
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
    """Whether an answer may end here that is no whole JSON: it was cut, as was asked for."""
    return isinstance(event, Finished) and (event.reason == "length" or bool(request.stop))


def gave_up() -> NotSupported:
    """What to tell of a schema that the engine could not hold the answer to."""
    return NotSupported("json_schema", "too complex: the engine gave up on it amid the answer")
