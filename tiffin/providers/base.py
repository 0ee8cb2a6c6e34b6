"""What all providers share: the deadline on every event, and the translation of errors.

The SDKs' own retries are off, because `tiffin.pipeline.generate` alone decides on retries.
"""

import asyncio
import email.utils
import json
import math
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from contextvars import ContextVar

import httpx2

from models.values import GenerateRequest, TokenEvent
from tiffin.config.routing import VISION, ProviderSettings
from tiffin.core.context import RequestContext
from tiffin.core.errors import (
    PROVIDER_OVERLOADED,
    TOO_LONG,
    UNSUPPORTED_PARAMETER,
    ContextExceeded,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RateLimited,
    TiffinError,
    Unavailable,
    UpstreamFailed,
)

CONNECT_S = 5.0
MAX_MESSAGE_CHARS = 500

_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""Of the request that is sent: the SDKs have no common parameter for headers."""

_TOO_LONG = ("context length", "context_length", "too long", "maximum context", "token count")


class Provider(ABC):
    """One tier. `errors` are the SDK's exceptions that `_translate` handles."""

    errors: tuple[type[Exception], ...] = ()
    ignores: Iterable[str] = ()
    decides = False
    """Whether its protocol has `/v1/decisions`, so that it may answer what is asked there."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name = name
        self.model = settings.model
        self.max_output_tokens = settings.max_output_tokens
        self.sees = VISION in settings.capabilities

    async def generate(
        self, request: GenerateRequest, context: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """Stream the answer; closing the generator closes the connection. Raises TiffinError.

        A stream that breaks off early ends without `Finished`; the caller must check for it.
        """
        self._check(request)
        _traceparent.set(context.traceparent)
        async with aclosing(self._events(request)) as events:
            while True:
                try:
                    async with asyncio.timeout(context.deadline.remaining()):
                        event = await anext(events, None)
                except TimeoutError as error:
                    message = f"the {self.name} tier did not answer before the deadline"
                    raise DeadlineExceeded(message) from error
                except (httpx2.HTTPError, json.JSONDecodeError, UnicodeDecodeError) as error:
                    raise self._broken(error) from error
                except self.errors as error:
                    raise self._translate(error) from error
                if event is None:
                    return
                yield event

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def _events(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        """Yield the SDK's events as ours."""

    @abstractmethod
    def _translate(self, error: Exception) -> TiffinError:
        """Translate one of `errors` into our tree."""

    def _check(self, request: GenerateRequest) -> None:
        """Raise InvalidRequest for fields that the protocol lacks: nothing is silently ignored."""
        if request.prompt is not None:
            message = f"prompt: the {self.name} tier only completes conversations"
            raise InvalidRequest(message, param="prompt")
        if not self.sees and any(turn.images for turn in request.messages):
            raise _unsupported(f"messages: the {self.name} tier cannot read images", "messages")
        for field in (*self.ignores, "ignore_eos"):
            if getattr(request, field):
                raise self._lacks(field, "has no such parameter")

    def _check_detail(self, request: GenerateRequest) -> None:
        """Refuse an image's `detail`, for providers without it: another tier gets the request."""
        if any(image.detail != "auto" for turn in request.messages for image in turn.images):
            raise self._lacks("detail", "treats all images alike", param="messages")

    def _lacks(self, field: str, what: str, *, param: str | None = None) -> InvalidRequest:
        """The refusal of what the provider cannot do; another tier may."""
        return _unsupported(f"{field}: the {self.name} tier's provider {what}", param or field)

    def _answer_tokens(self, request: GenerateRequest) -> int:
        """How many tokens the answer may have."""
        return min(request.max_tokens or self.max_output_tokens, self.max_output_tokens)

    def _lost(self, error: Exception) -> TiffinError:
        """What an SDK's error without a status means: often it hides the HTTP client's own."""
        if isinstance(error.__cause__, Exception):
            return self._broken(error.__cause__)
        return Unavailable(f"the {self.name} tier is not reachable")

    def _broken(self, error: Exception) -> TiffinError:
        if (why := _distrusted(error)) is not None:
            return Unavailable(f"the {self.name} tier's certificate is not accepted: {why}")
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return Unavailable(f"the {self.name} tier is not reachable")
        if isinstance(error, httpx2.HTTPError):
            return UpstreamFailed(f"the {self.name} tier broke off its answer")
        return UpstreamFailed(f"the {self.name} tier's answer has an unknown shape")

    def _of_status(  # noqa: PLR0911  one line a status
        self, status: int, message: str, headers: Mapping[str, str]
    ) -> TiffinError:
        """The error for a response with this status."""
        shown = message[:MAX_MESSAGE_CHARS]
        match status:
            case 429:
                words = f"the {self.name} tier's rate limit is reached"
                return RateLimited(words, retry_after_s=retry_after_s(headers))
            case 503 | 529:
                return Overloaded(
                    f"the {self.name} tier is overloaded",
                    code=PROVIDER_OVERLOADED,
                    retry_after_s=retry_after_s(headers),
                )
            case 408 | 504:
                return DeadlineExceeded(f"the {self.name} tier reports a timeout of its own")
            case 400 | 413 | 422 if any(words in message.lower() for words in _TOO_LONG):
                return ContextExceeded(f"{self.name}: {shown}", code=TOO_LONG)
            case 400 | 413 | 422:
                return InvalidRequest(f"{self.name}: {shown}")
            case 401 | 403:
                return UpstreamFailed(f"the {self.name} tier refuses our API key")
            case _:
                return UpstreamFailed(f"the {self.name} tier answered with status {status}")


def _distrusted(error: BaseException | None) -> str | None:
    """What is wrong with the provider's certificate, if that is the cause."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _unsupported(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code=UNSUPPORTED_PARAMETER)


def system_of(request: GenerateRequest) -> str:
    """The system's turns as one text, for protocols that keep it apart from the conversation."""
    return "\n\n".join(turn.content for turn in request.messages if turn.role == "system")


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Whole seconds that a Retry-After header, a number or a date, asks for, or None."""
    if milliseconds := headers.get("retry-after-ms"):
        try:
            return max(1, math.ceil(float(milliseconds) / 1000))
        except ValueError:
            return None
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(1, math.ceil(float(value)))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(1, math.ceil(at.timestamp() - time.time()))


def http_client() -> httpx2.AsyncClient:
    """An HTTP client without limits: the deadline bounds the time, the tier the number of calls."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
        follow_redirects=True,
        event_hooks={"request": [_trace]},
    )


async def _trace(request: httpx2.Request) -> None:
    """Send the trace along (W3C trace context), so that a provider's own spans join it."""
    if traceparent := _traceparent.get():
        request.headers["traceparent"] = traceparent
