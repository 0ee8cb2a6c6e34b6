"""Gives every request its context (id, deadline, trace) from its headers.

What the request's bill says goes into the response's headers: `x-tiffin-tier`, `x-tiffin-cost-usd`
(not of a stream, whose headers go before its tokens come), `x-tiffin-cache` if the cache was asked,
`x-tiffin-checks` if safety was, and, for `x-tiffin-debug: 1`, the whole decision as JSON in
`x-tiffin-decision`.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.api.request_id import REQUEST_ID_HEADER, request_id_of
from tiffin.core.context import DEFAULT_TENANT, Bill, CacheUse, RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import InvalidRequest
from tiffin.core.grant import EVERYTHING
from tiffin.telemetry import logs, tracing
from tiffin.telemetry.tracing import Kind, Off

DEBUG_HEADER = "x-tiffin-debug"
TIER_HEADER = "x-tiffin-tier"
COST_HEADER = "x-tiffin-cost-usd"
CHECKS_HEADER = "x-tiffin-checks"
DECISION_HEADER = "x-tiffin-decision"
CACHE_HEADER = "x-tiffin-cache"
TIMEOUT_HEADERS = ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms")
MAX_TIMEOUT_MS = 600_000
PRIORITY_HEADER = "x-tiffin-priority"
PRIORITIES = ("interactive", "batch")

_DIGITS = re.compile(r"[0-9]{1,9}")


class ContextMiddleware:
    """ASGI middleware: puts a RequestContext into the scope and its id into the response.

    A request that sets no deadline gets its path's, from `timeouts_ms`, or the default.
    """

    def __init__(
        self, app: ASGIApp, *, default_timeout_ms: int, timeouts_ms: Mapping[str, int]
    ) -> None:
        self._app = app
        self._default_timeout_ms = default_timeout_ms
        self._timeouts_ms = timeouts_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A dict, because Headers searches all lines for each name. The first of a name counts.
        sent = dict(reversed(Headers(scope=scope).items()))
        state = scope.setdefault("state", {})
        try:
            context = self._context(scope["path"], sent, state)
        except InvalidRequest as error:
            await error_response(error)(scope, receive, send)
            return
        with tracing.span(scope["method"], context.traceparent, Kind.SERVER) as span:
            state["context"] = context = span.within(context)
            await self._serve(scope, receive, send, context=context, span=span, sent=sent)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        context: RequestContext,
        span: Off,
        sent: Mapping[str, str],
    ) -> None:
        """Serve a request that has its context."""
        logs.request_id.set(context.request_id)
        debug = sent.get(DEBUG_HEADER) == "1"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if span:
                    _tell(span, scope, context, message["status"])
                told = {REQUEST_ID_HEADER: context.request_id}
                told |= _bill_headers(context.bill, debug=debug)
                if context.checks:
                    told[CHECKS_HEADER] = ",".join(map(str, context.checks))
                lines = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
                message["headers"] = [*message["headers"], *lines]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _context(
        self, path: str, headers: Mapping[str, str], state: Mapping[str, Any]
    ) -> RequestContext:
        timeout_ms = _timeout_ms(headers)
        default_ms = self._timeouts_ms.get(path, self._default_timeout_ms)
        deadline = Deadline.after((timeout_ms or default_ms) / 1000)
        return RequestContext(
            deadline,
            request_id_of(headers),
            traceparent=headers.get("traceparent"),
            tenant=state.get("tenant", DEFAULT_TENANT),
            batch=_is_batch(headers),
            deadline_named=timeout_ms is not None,
            cache_control=headers.get("cache-control", ""),
            key=state.get("key", ""),
            grant=state.get("grant", EVERYTHING),
        )


def _tell(span: Off, scope: Scope, context: RequestContext, status: int) -> None:
    """What a request's span says, by the conventions for HTTP servers."""
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.name(f"{scope['method']} {route}")
    span.tell(
        {
            "http.request.method": scope["method"],
            "http.route": route,
            "http.response.status_code": status,
            "url.path": scope["path"],
            "tiffin.request_id": context.request_id,
            "tiffin.tenant": context.tenant,
            "tiffin.deadline_ms": round(context.deadline.remaining() * 1000),
        }
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))


def _bill_headers(bill: Bill, *, debug: bool) -> dict[str, str]:
    """Who answered and what it cost; of a stream, which has only begun, no cost yet."""
    headers = {}
    if bill.answered_by or bill.attempts:
        headers[TIER_HEADER] = bill.answered_by or bill.attempts[-1].tier
        if bill.closed:
            headers[COST_HEADER] = f"{bill.usd:.8f}"
    if bill.cache is not None:
        headers |= _cache_headers(bill.cache)
    if debug and bill.decision is not None:
        headers[DECISION_HEADER] = json.dumps(msgspec.to_builtins(bill.decision))
    return headers


def _cache_headers(use: CacheUse) -> dict[str, str]:
    """What the cache did; of an answer from it also its age in seconds, its tier and its cost."""
    headers: dict[str, str] = {CACHE_HEADER: use.layer}
    if use.id:
        headers[f"{CACHE_HEADER}-id"] = use.id
    if use.gave_answer:
        headers |= {"age": str(round(use.age_s)), COST_HEADER: f"{0:.8f}"}
        if use.tier:
            headers[TIER_HEADER] = use.tier
        if use.similarity is not None:
            headers[f"{CACHE_HEADER}-similarity"] = f"{use.similarity:.3f}"
    return headers


def _timeout_ms(headers: Mapping[str, str]) -> int | None:
    for name in TIMEOUT_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        if not _DIGITS.fullmatch(value) or not 1 <= int(value) <= MAX_TIMEOUT_MS:
            message = f"{name}: {value[:40]!r} is not a number of ms from 1 to {MAX_TIMEOUT_MS:,}"
            raise InvalidRequest(message, param=name)
        return int(value)
    return None


def _is_batch(headers: Mapping[str, str]) -> bool:
    value = headers.get(PRIORITY_HEADER, PRIORITIES[0])
    if value not in PRIORITIES:
        message = f"{PRIORITY_HEADER}: {value!r} is not one of: {', '.join(PRIORITIES)}"
        raise InvalidRequest(message, param=PRIORITY_HEADER)
    return value == "batch"
