"""Writes a line about each request, and counts it: the outermost of the entry service's layers.

The line says who asked what, who answered, at what cost and how it ended; never what was said.
"""

import logging
import time
from collections.abc import Container
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import noted
from tiffin.api.request_id import REQUEST_ID_HEADER
from tiffin.core.context import DEFAULT_TENANT, Bill, RequestContext
from tiffin.core.errors import TiffinError
from tiffin.lifecycle.drain import UNCOUNTED
from tiffin.telemetry.logs import ACCESS
from tiffin.telemetry.requests import CLIENT_CLOSED, Ended, observe
from tiffin.telemetry.tracing import trace_id_of

logger = logging.getLogger(ACCESS)

QUIET_PATHS = "/playground/"
"""Files of the page at `/`, of which a browser asks for a dozen: written only if one fails."""

REFUSED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
REFUSALS_LOGGED = 10
"""Lines about refused requests in a second. In an overload a thousand a second are refused, and to
write a line costs more than to refuse."""

OTHER = "other"
"""The route of what no route answers, because clients can make up any number of paths."""

PATH_CHARS = 200


class AccessLog:
    """ASGI middleware. `paths` are those that the service answers; they name the route in metrics.

    Probes and `/metrics` are neither written nor counted.
    """

    def __init__(self, app: ASGIApp, *, paths: Container[str] = ()) -> None:
        self._app = app
        self._paths = paths
        self._few = Few(REFUSALS_LOGGED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        began, errors = time.perf_counter(), list[TiffinError]()
        noted.set(errors)
        scope.setdefault("state", {})
        start: Message = {"status": 0, "headers": ()}
        whole = False

        async def watched(message: Message) -> None:
            nonlocal start, whole
            if message["type"] == "http.response.start":
                start = message
            elif not message.get("more_body", False):
                whole = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            status = start["status"] if whole else CLIENT_CLOSED
            self._end(scope, start, status, errors, time.perf_counter() - began)

    def _end(
        self, scope: Scope, start: Message, status: int, errors: list[TiffinError], took_s: float
    ) -> None:
        state = scope["state"]
        context: RequestContext | None = state.get("context")
        bill, error = (context.bill if context else None), (errors[-1] if errors else None)
        tenant = state.get("tenant", DEFAULT_TENANT)
        outcome = observe(Ended(self._route(scope), status, tenant, bill, error, took_s))
        level = logging.WARNING if outcome == "failed" else logging.INFO
        if not logger.isEnabledFor(level) or not self._is_written(scope["path"], status, outcome):
            return
        line = {
            "request_id": context.request_id if context else _id_sent(start),
            "method": scope["method"],
            "path": scope["path"][:PATH_CHARS],
            "status": status,
            "ms": round(took_s * 1000, 1),
            "tenant": tenant,
            **(_told(context) if context else {}),
        }
        if error is not None:
            server_s = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            line["error"] = error.message if server_s else error.code or error.type
        if left_out := self._few.left_out():
            line["refusals_not_written"] = left_out
        # `logger.log` would look for its caller first, which takes as long as all the rest.
        record = logging.LogRecord(logger.name, level, "", 0, "request", None, None)
        record.fields = line
        logger.handle(record)

    def _is_written(self, path: str, status: int, outcome: str) -> bool:
        if status in REFUSED:
            return self._few.one_more()
        return outcome != "ok" or not path.startswith(QUIET_PATHS)

    def _route(self, scope: Scope) -> str:
        """The path that the route declares."""
        path: str = scope["path"]
        if path in self._paths:
            return path
        return getattr(scope.get("route"), "path", OTHER)


def _told(context: RequestContext) -> dict[str, Any]:
    """What the request's bill and its checks say; what does not apply is left out."""
    bill = context.bill
    told: dict[str, Any] = {}
    if context.key:
        told["key"] = context.key
    if context.traceparent and (trace_id := trace_id_of(context.traceparent)):
        told["trace_id"] = trace_id
    if bill.attempts:
        told |= _of_attempts(bill)
    elif bill.answered_by:
        told["tier"] = bill.answered_by
    if bill.encoded_tokens:
        told["encoded_tokens"] = bill.encoded_tokens
    if bill.cache is not None:
        told["cache"] = bill.cache.layer
    if bill.degraded:
        told["degraded"] = ",".join(bill.degraded)
    if context.checks:
        told["checks"] = ",".join(map(str, context.checks))
    return told


def _of_attempts(bill: Bill) -> dict[str, Any]:
    """Who answered, or was asked last; tokens and cost are of all attempts."""
    last = bill.attempts[-1]
    tier = bill.answered_by or last.tier
    read = sum([attempt.usage.prompt_tokens for attempt in bill.attempts])
    told = {
        "tier": tier,
        "model": next((one.model for one in reversed(bill.attempts) if one.tier == tier), tier),
        "prompt_tokens": read,
        "completion_tokens": bill.tokens - read,
        "cost_usd": round(bill.usd, 8),
    }
    if last.ttft_ms is not None:
        told["first_token_ms"] = round(last.ttft_ms, 1)
    return told


def _id_sent(start: Message) -> str:
    """The id of a request that was refused before it had a context."""
    name = REQUEST_ID_HEADER.encode()
    return next((value.decode() for key, value in start["headers"] if key == name), "")


class Few:
    """Lets through so many a second, and counts the others."""

    def __init__(self, in_a_second: int) -> None:
        self._most = in_a_second
        self._second, self._passed, self._left_out = 0, 0, 0

    def one_more(self) -> bool:
        """Whether this one passes."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._passed = second, 0
        self._passed += 1
        if self._passed <= self._most:
            return True
        self._left_out += 1
        return False

    def left_out(self) -> int:
        """How many did not pass since one that passed asked for it."""
        count, self._left_out = self._left_out, 0
        return count
