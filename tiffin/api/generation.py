"""What all OpenAI routes that generate do around `Gateway.write`.

They wait for the head of the answer, set its headers, and blame errors on the client's own fields.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from typing import cast

import msgspec

from models.values import Finished, GenerateRequest, TokenUsage
from tiffin.core.context import Bill
from tiffin.core.errors import TOO_LONG, InvalidRequest
from tiffin.pipeline.writing import Head, Piece


class Generation(msgspec.Struct, frozen=True):
    """Answers that have begun. `pieces` must be read to its end, or closed.

    `usages` holds the tokens of each choice that has ended, by its index; `bill` what all cost.
    """

    head: Head
    pieces: AsyncGenerator[Piece, None]
    created: int
    usages: dict[int, TokenUsage]
    bill: Bill


Begin = Callable[[], Awaitable[Generation]]
"""`begin` with its arguments: a stream calls it when its response has begun to wait."""


async def begin(
    events: AsyncGenerator[Head | Piece, None],
    request: GenerateRequest,
    bill: Bill,
    headers: dict[str, str],
    *,
    prompt_field: str,
    schema_field: str = "json_schema",
    limit_field: str = "max_tokens",
) -> Generation:
    """Wait until the answers to a request have begun. A failure before that is raised here.

    Writes the answer's `headers`; that the deadline cut it is known, and added, only at its end.

    An error about a schema that the engine refuses names `schema_field`, or the tools that it comes
    from; one about too long an input names `prompt_field`, about too long an answer `limit_field`.
    """
    began = time.perf_counter()
    field = "tools" if request.json_schema is None else schema_field
    usages: dict[int, TokenUsage] = {}
    names = {"json_schema": field, "max_tokens": limit_field, None: prompt_field}
    noted = _noted(events, names, usages, partial(_tell, headers))
    head = await anext(noted)
    assert isinstance(head, Head)  # noqa: S101  the pipeline's first event, by its contract
    headers["openai-processing-ms"] = str(round((time.perf_counter() - began) * 1000))
    pieces = cast("AsyncGenerator[Piece, None]", noted)  # all the rest
    return Generation(head, pieces, int(time.time()), usages, bill)


async def _noted(
    events: AsyncGenerator[Head | Piece, None],
    names: Mapping[str | None, str],
    usages: dict[int, TokenUsage],
    tell: Callable[[Head], None],
) -> AsyncGenerator[Head | Piece, None]:
    """The events; errors blame the client's fields. At the head and at each end it tells."""
    head: Head | None = None
    with _blamed(names):
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Head):
                    head = event
                    tell(head)
                elif isinstance(event.event, Finished):
                    usages[event.index] = event.event.usage
                    assert head is not None  # noqa: S101  the pipeline's first event
                    tell(head)
                yield event


def _tell(headers: dict[str, str], head: Head) -> None:
    """Write what the answer is given without, as far as it is known by now."""
    if head.degraded:
        headers["x-tiffin-degraded"] = ",".join(head.degraded)


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
