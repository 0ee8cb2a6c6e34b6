"""Asks for a key and holds it to its limits, before anything of a request's body is read.

Stands in front of all routes of the entry service, BentoML's own too. `/metrics` needs a key like
the rest: it tells how much is used. Open to everyone are the probes, the version, and the files of
the pages at `/` and `/docs`, which ask for a key themselves.
"""

import math
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.core.errors import RateLimited, TiffinError, Unauthenticated
from tiffin.core.text import estimate_tokens
from tiffin.lifecycle.drain import PROBES
from tiffin.traffic.keys import Key, KeyRing
from tiffin.traffic.quota import Bucket, Meter, current

OPEN_PATHS = PROBES | {"/version"}
OPEN_PAGES = frozenset({"/", "/docs", "/docs/openapi.json", "/openapi.json"})
"""Open to GET only: POST `/` embeds."""
OPEN_FILES = ("/playground/", "/docs/assets/")


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no key."""
    if path in OPEN_PATHS:
        return True
    page = path in OPEN_PAGES or path.startswith(OPEN_FILES)
    return page and method in {"GET", "HEAD"}


class KeyGuard:
    """ASGI middleware: refuses what brings no valid key, and what passes the key's limits."""

    def __init__(self, app: ASGIApp, *, keys_file: Path) -> None:
        self._app = app
        self._ring = KeyRing(keys_file)
        self._limits: dict[str, _Limits] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limits: _Limits | None = None
        try:
            key = self._key_of(headers)
            limits = self._limits_of(key)
            meter = limits.enter(_estimate(headers))
        except TiffinError as error:
            response = error_response(error)
            if limits is not None:
                limits.write(response.headers)
            if error.status == HTTPStatus.UNAUTHORIZED:
                response.headers["www-authenticate"] = "Bearer"
            await response(scope, receive, send)
            return
        scope.setdefault("state", {}).update(tenant=key.tenant, key=key.name)
        token = current.set(meter)
        try:
            await self._app(scope, receive, _with_limits(send, limits))
        finally:
            current.reset(token)

    def _key_of(self, headers: Headers) -> Key:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            text = headers.get("x-api-key", "")  # as Anthropic's clients send it
        if not text.strip():
            message = "no API key: send it as `Authorization: Bearer KEY`"
            raise Unauthenticated(message, code="missing_api_key")
        key = self._ring.find(text.strip())
        if key is None:
            raise Unauthenticated("the API key is not valid", code="invalid_api_key")
        return key

    def _limits_of(self, key: Key) -> "_Limits":
        limits = self._limits.get(key.id)
        if limits is None or limits.key != key:
            limits = self._limits[key.id] = _Limits(key)
        return limits


class _Limits:
    """What is left of one key's minute."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._requests = _bucket(key.requests_per_minute)
        self._tokens = _bucket(key.tokens_per_minute)

    def enter(self, estimate: int) -> Meter:
        """Take a request and the tokens it may cost. Raises RateLimited when they are not there."""
        for bucket, units, what in (
            (self._requests, 1, "requests"),
            (self._tokens, max(1, estimate), "tokens"),
        ):
            if bucket is None or (wait_s := bucket.wait_s(units)) == 0:
                continue
            message = f"{what}: this key may use {bucket.per_minute:,} {what} a minute"
            raise RateLimited(
                message, code="rate_limit_exceeded", retry_after_s=max(1, math.ceil(wait_s))
            )
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(estimate)
        return Meter(self._tokens, estimate)

    def write(self, headers: MutableHeaders) -> None:
        """Say what is left, as OpenAI's clients read it."""
        for bucket, what in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket is not None:
                headers[f"x-ratelimit-limit-{what}"] = str(bucket.per_minute)
                headers[f"x-ratelimit-remaining-{what}"] = str(bucket.remaining)
                headers[f"x-ratelimit-reset-{what}"] = f"{bucket.full_in_s():.3f}s"


def _bucket(per_minute: int | None) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute)


def _estimate(headers: Headers) -> int:
    """About how many tokens a request will cost, until it is known."""
    length = headers.get("content-length", "")
    return estimate_tokens(int(length)) if length.isdecimal() else 0


def _with_limits(send: Send, limits: _Limits) -> Send:
    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            limits.write(MutableHeaders(scope=message))
        await send(message)

    return send_with_limits
