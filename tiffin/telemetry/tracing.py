"""Spans of OpenTelemetry: one trace a request, over all services. Off until `start` is called.

A span's parent is not found in a context variable, as OpenTelemetry would: it travels as
`traceparent` in the request's context, over hops too, because stages run side by side and streams
are read by whoever closes them. `span.within(context)` gives the context for what happens inside.

    POST /v1/rag           RAG        the request, by `tiffin.api.middleware.context`
    +- embed               RAG        a stage, by `tiffin.pipeline.stage`
    |  '- Embedding.embed  Embedding  a call of a service, by `tiffin.transport.server`
    '- generate            RAG
       '- chat MODEL       RAG        an attempt at a tier, by `tiffin.routing.meter`
          '- SmallLLM.generate  SmallLLM
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from tiffin import __version__
from tiffin.config.section import SettingsError
from tiffin.config.telemetry import TracingSettings
from tiffin.core.context import RequestContext
from tiffin.core.errors import TiffinError

if TYPE_CHECKING:
    from opentelemetry import trace as otel

Values = Mapping[str, Any]

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
TRACES_PATH = "/v1/traces"


class Kind(Enum):
    """What a span is, by OpenTelemetry's names."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


class Off:
    """What `span` gives while nothing is traced. It is true if something records it."""

    traceparent: str | None = None

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self.fail(error.type if isinstance(error, TiffinError) else type(error).__name__)
        self.end()

    def within(self, context: RequestContext) -> RequestContext:
        """The context for what happens inside of this span."""
        return context

    def name(self, name: str) -> None:
        """Give it a better name."""

    def tell(self, values: Values) -> None:
        """Add attributes; those of None are left out."""

    def fail(self, error: str) -> None:
        """Say that it failed, with the error's type."""

    def end(self) -> None:
        """It is over."""


class Span(Off):
    """One span, to be ended. Leaving its block by an exception marks it as failed."""

    def __init__(self, span: "otel.Span") -> None:
        self._span = span
        known = span.get_span_context()
        self.traceparent = f"00-{known.trace_id:032x}-{known.span_id:016x}-{known.trace_flags:02x}"

    def __bool__(self) -> bool:
        return self._span.is_recording()

    def within(self, context: RequestContext) -> RequestContext:
        """The context with this span as the parent."""
        return replace(context, traceparent=self.traceparent)

    def name(self, name: str) -> None:
        """Give it a better name."""
        self._span.update_name(name)

    def tell(self, values: Values) -> None:
        """Add attributes; those of None are left out."""
        self._span.set_attributes({k: v for k, v in values.items() if v is not None})

    def fail(self, error: str) -> None:
        """Say that it failed, with the error's type."""
        self._span.set_attribute("error.type", error)
        self._span.set_status(_running().otel.StatusCode.ERROR)

    def end(self) -> None:
        """It is over."""
        self._span.end()


@dataclass(frozen=True)
class _Running:
    """What `start` made: OpenTelemetry's module, imported only then, and the tracer."""

    otel: Any
    provider: Any
    tracer: "otel.Tracer"
    content: bool


_OFF = Off()
_now: list[_Running] = []


def _running() -> _Running:
    return _now[0]


def start(settings: TracingSettings, service: str) -> None:
    """Trace from now on, in this process. Raises SettingsError without the extra."""
    if settings.endpoint is None:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ModuleNotFoundError as error:
        message = f"tracing.endpoint: {error.name} is not installed; install tiffin[tracing]"
        raise SettingsError(message) from None
    resource = {
        "service.name": service,
        "service.namespace": "tiffin",
        "service.version": __version__,
    }
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.sample_share),
        resource=Resource.create(resource),
    )
    exporter = OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tiffin", __version__)
    _now[:] = [_Running(trace, provider, tracer, settings.content)]


def stop() -> None:
    """Send what is left, and trace no more. At the process's end OpenTelemetry does so itself."""
    if _now:
        _now.pop().provider.shutdown()


def is_on() -> bool:
    """Whether anything is traced."""
    return bool(_now)


def with_content() -> bool:
    """Whether spans may hold what was said."""
    return bool(_now) and _running().content


def span(
    name: str,
    parent: str | None,
    kind: Kind = Kind.INTERNAL,
    values: Values | None = None,
) -> Off:
    """Begin a span under `parent`, a `traceparent`; of None, or an invalid one, begin a trace.

    It ends with its block, or by `end`.
    """
    if not _now:
        return _OFF
    running = _running()
    begun = running.tracer.start_span(
        name,
        _parent(running.otel, parent),
        running.otel.SpanKind[kind.value],
        attributes=None if values is None else {k: v for k, v in values.items() if v is not None},
    )
    return Span(begun)


def _parent(api: Any, traceparent: str | None) -> Any:  # noqa: ANN401  OpenTelemetry's module
    """OpenTelemetry's context that has the caller's span; an empty one if there is none."""
    from opentelemetry.context import Context

    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return Context()
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    known = api.SpanContext(trace_id, span_id, True, api.TraceFlags(flags))  # noqa: FBT003
    return api.set_span_in_context(api.NonRecordingSpan(known), Context())


def trace_id_of(traceparent: str | None) -> str:
    """The id of the trace; empty if there is none."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found[1] if found else ""
