"""Asks for a key and holds it to its limits, before anything of a request's body is read.

Stands in front of all routes of the entry service, BentoML's own too. `/metrics` needs a key like
the rest: it tells how much is used. Open to everyone are the probes, the version, and the files of
the pages at `/` and `/docs`, which ask for a key themselves.
"""

import datetime as dt
import math
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.core.errors import RateLimited, TiffinError, Unauthenticated
from tiffin.core.text import estimate_tokens
from tiffin.lifecycle.drain import PROBES
from tiffin.traffic.keys import Key, KeyRing
from tiffin.traffic.quota import Limiter, LocalLimiter, Meter, Side, current

OPEN_PATHS = PROBES | {"/version"}
OPEN_PAGES = frozenset({"/", "/docs", "/docs/openapi.json", "/openapi.json"})
"""Open to GET only: POST `/` embeds."""
KEY_HEADERS = ("x-api-key", "api-key")
"""Where clients of Anthropic's and of Azure's API put their key."""

OPEN_FILES = ("/playground/", "/docs/assets/")


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no key."""
    if path in OPEN_PATHS:
        return True
    page = path in OPEN_PAGES or path.startswith(OPEN_FILES)
    return page and method in {"GET", "HEAD"}


class KeyGuard:
    """ASGI middleware: refuses what brings no valid key, and what passes the key's limits."""

    def __init__(self, app: ASGIApp, *, keys_file: Path, limiter: Limiter | None = None) -> None:
        self._app = app
        self._ring = KeyRing(keys_file)
        self._limiter = limiter or LocalLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "lifespan":
            receive = self._closing(receive)
        if scope["type"] != "http" or is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limits = _Limits()
        try:
            key = self._key_of(headers)
            limits = _Limits.of(key, self._limiter)
            meter = await limits.enter(_estimate(headers))
        except TiffinError as error:
            response = error_response(error)
            limits.write(response.headers)
            if error.status == HTTPStatus.UNAUTHORIZED:
                response.headers["www-authenticate"] = "Bearer"
            await response(scope, receive, send)
            return
        grant = self._ring.grant_of(key)
        scope.setdefault("state", {}).update(tenant=key.tenant, key=key.name, grant=grant)
        token = current.set(meter)
        try:
            await self._app(scope, receive, _with_limits(send, limits))
        finally:
            current.reset(token)

    def _closing(self, receive: Receive) -> Receive:
        """The messages of the server; its last one, when no request is left, closes the limiter."""

        async def receive_and_close() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._limiter.close()
            return message

        return receive_and_close

    def _key_of(self, headers: Headers) -> Key:
        text = _sent_key(headers)
        if not text:
            message = "no API key: send it as `Authorization: Bearer KEY`"
            raise Unauthenticated(message, code="missing_api_key")
        key = self._ring.find(text)
        if key is None:
            raise Unauthenticated("the API key is not valid", code="invalid_api_key")
        if key.expires is not None and self._ring.is_over(key):
            ended = f"{dt.datetime.fromtimestamp(key.expires, dt.UTC):%Y-%m-%d %H:%M} UTC"
            raise Unauthenticated(f"the API key expired on {ended}", code="expired_api_key")
        return key


def _sent_key(headers: Headers) -> str:
    """The key in the header where the client puts it; empty if there is none."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    for name in KEY_HEADERS:
        if text := headers.get(name, "").strip():
            return text
    return ""


@dataclass
class _Limits:
    """What one request may take of its key's minute; None is no limit."""

    requests: Side | None = None
    tokens: Side | None = None

    @classmethod
    def of(cls, key: Key, limiter: Limiter) -> "_Limits":
        """Those of a key."""

        def side(what: str, per_minute: int | None) -> Side | None:
            return None if per_minute is None else Side(limiter, key.id, what, per_minute)

        return cls(side("requests", key.requests_per_minute), side("tokens", key.tokens_per_minute))

    async def enter(self, estimate: int) -> Meter:
        """Take a request and the tokens it may cost. Raises RateLimited when they are not there."""
        if self.requests is not None and (wait_s := await self.requests.take(1)):
            raise _too_many(self.requests, wait_s)
        if self.tokens is not None and (wait_s := await self.tokens.take(estimate)):
            if self.requests is not None:
                self.requests.settle(-1)
            raise _too_many(self.tokens, wait_s)
        return Meter(self.tokens, estimate)

    def write(self, headers: MutableHeaders) -> None:
        """Say what is left, as OpenAI's clients read it."""
        for side in (self.requests, self.tokens):
            if side is not None:
                headers[f"x-ratelimit-limit-{side.what}"] = str(side.per_minute)
                headers[f"x-ratelimit-remaining-{side.what}"] = str(side.remaining)
                headers[f"x-ratelimit-reset-{side.what}"] = f"{side.full_in_s():.3f}s"


def _too_many(side: Side, wait_s: float) -> RateLimited:
    again_s = max(1, math.ceil(wait_s))
    message = (
        f"{side.what}: this key may use {side.per_minute:,} {side.what} a minute, and"
        f" {side.per_minute - side.remaining:,} are used; try again in {again_s} s"
    )
    return RateLimited(message, code="rate_limit_exceeded", retry_after_s=again_s)


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
