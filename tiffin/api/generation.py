"""What all OpenAI routes that generate do around `tiffin.pipeline.chat`.

They take a place in the admission queue, wait for the head of the answer, and set its headers.
"""

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import cast

import msgspec

from models.values import Finished, GenerateRequest
from tiffin.core.context import RequestContext
from tiffin.core.errors import TOO_LONG, FieldTooLarge, InvalidRequest, Unavailable
from tiffin.gateway import Gateway
from tiffin.pipeline.chat import Head
from tiffin.pipeline.writing import Piece
from tiffin.routing.names import routed_name
from tiffin.telemetry import metrics
from tiffin.traffic.quota import charge


class Generation(msgspec.Struct, frozen=True):
    """Answers that have begun. `pieces` must be read to its end, or closed."""

    head: Head
    pieces: AsyncGenerator[Piece, None]
    created: int
    headers: dict[str, str]


async def begin(
    model: str,
    requests: Sequence[GenerateRequest],
    gateway: Gateway,
    context: RequestContext,
    *,
    whole: bool,
    prompt_field: str,
    schema_field: str = "json_schema",
) -> Generation:
    """Start one answer for each request. A failure before the first event is raised here.

    `whole` says that the client does not read a stream. An error about a schema that the engine
    refuses names `schema_field`, or the tools that it comes from; one about too long an input names
    `prompt_field`.
    """
    began = time.perf_counter()
    settings = gateway.settings
    if model in settings.adapters():
        requests = [msgspec.structs.replace(request, adapter=model) for request in requests]
    field = "tools" if requests[0].json_schema is None else schema_field
    tier = tier_of(model, gateway)
    blame = _blamed(prompt_field, field)
    events = _placed(tier, requests, gateway, context, whole=whole, blame=blame)
    head = await anext(events)
    assert isinstance(head, Head)  # noqa: S101  the pipeline's first event, by its contract
    headers = {
        "openai-processing-ms": str(round((time.perf_counter() - began) * 1000)),
    }
    if head.degraded:
        headers["x-tiffin-degraded"] = ",".join(head.degraded)
    pieces = cast("AsyncGenerator[Piece, None]", events)  # all the rest
    return Generation(head, pieces, int(time.time()), headers)


def tier_of(model: str, gateway: Gateway) -> str:
    """The tier or policy that a model's name stands for."""
    settings = gateway.settings
    tier = settings.adapters().get(model)
    return tier or routed_name(model, gateway.models, settings.routing.policies)


async def _placed(
    model: str,
    requests: Sequence[GenerateRequest],
    gateway: Gateway,
    context: RequestContext,
    *,
    whole: bool,
    blame: AbstractContextManager[None],
) -> AsyncGenerator[Head | Piece, None]:
    """The pipeline's events while the request holds its place."""
    if missing := gateway.readiness.missing():
        message = f"not ready: waiting for {', '.join(missing)}"
        raise Unavailable(message)
    with metrics.outcome(), blame:
        async with (
            gateway.admission.place(context, model),
            aclosing(gateway.chat.stream(model, requests, context, whole=whole)) as events,
        ):
            async for event in events:
                if isinstance(event, Piece) and isinstance(event.event, Finished):
                    usage = event.event.usage
                    charge(usage.prompt_tokens + usage.completion_tokens)
                yield event


@contextmanager
def _blamed(prompt_field: str, schema_field: str) -> Iterator[None]:
    """Errors about the input, or what engines call `json_schema`, get the client's name for it."""
    try:
        yield
    except InvalidRequest as error:
        if error.param == "json_schema":
            message = error.message.replace("json_schema", schema_field, 1)
            raise InvalidRequest(message, param=schema_field, code=error.code) from error
        if error.param is None and error.code == TOO_LONG:
            message = f"{prompt_field}: {error.message}"
            raise FieldTooLarge(message, param=prompt_field, code=TOO_LONG) from error
        raise
