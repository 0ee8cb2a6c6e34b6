"""What all OpenAI routes that generate do around `Gateway.write`.

They wait for the head of the answer, set its headers, and blame errors on the client's own fields.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import cast

import msgspec

from models.values import Finished, GenerateRequest, TokenUsage
from tiffin.core.errors import TOO_LONG, InvalidRequest
from tiffin.pipeline.writing import Head, Piece


class Generation(msgspec.Struct, frozen=True):
    """Answers that have begun. `pieces` must be read to its end, or closed.

    `usages` holds the tokens of each choice that has ended, by its index.
    """

    head: Head
    pieces: AsyncGenerator[Piece, None]
    created: int
    headers: dict[str, str]
    usages: dict[int, TokenUsage]


Begin = Callable[[], Awaitable[Generation]]
"""`begin` with its arguments: a stream calls it when its response has begun to wait."""


async def begun(begin: Begin, headers: dict[str, str]) -> Generation:
    """Begin, and add the answer's headers to those of the stream."""
    generation = await begin()
    headers |= generation.headers
    return generation


async def begin(
    events: AsyncGenerator[Head | Piece, None],
    request: GenerateRequest,
    *,
    prompt_field: str,
    schema_field: str = "json_schema",
    limit_field: str = "max_tokens",
) -> Generation:
    """Wait until the answers to a request have begun. A failure before that is raised here.

    An error about a schema that the engine refuses names `schema_field`, or the tools that it comes
    from; one about too long an input names `prompt_field`, about too long an answer `limit_field`.
    """
    began = time.perf_counter()
    field = "tools" if request.json_schema is None else schema_field
    usages: dict[int, TokenUsage] = {}
    names = {"json_schema": field, "max_tokens": limit_field, None: prompt_field}
    blamed = _blaming(events, names, usages)
    head = await anext(blamed)
    assert isinstance(head, Head)  # noqa: S101  the pipeline's first event, by its contract
    headers = {
        "openai-processing-ms": str(round((time.perf_counter() - began) * 1000)),
    }
    if head.degraded:
        headers["x-tiffin-degraded"] = ",".join(head.degraded)
    pieces = cast("AsyncGenerator[Piece, None]", blamed)  # all the rest
    return Generation(head, pieces, int(time.time()), headers, usages)


async def _blaming(
    events: AsyncGenerator[Head | Piece, None],
    names: Mapping[str | None, str],
    usages: dict[int, TokenUsage],
) -> AsyncGenerator[Head | Piece, None]:
    with _blamed(names):
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Piece) and isinstance(event.event, Finished):
                    usages[event.index] = event.event.usage
                yield event


@contextmanager
def _blamed(names: Mapping[str | None, str]) -> Iterator[None]:
    """Errors get the client's names for the fields that engines blame."""
    try:
        yield
    except InvalidRequest as error:
        if error.param is None and error.code == TOO_LONG:
            message = f"{names[None]}: {error.message}"
        elif error.param is not None and error.param in names:
            message = error.message.replace(error.param, names[error.param], 1)
        else:
            raise
        raise type(error)(message, param=names[error.param], code=error.code) from error
