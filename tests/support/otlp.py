"""A receiver of traces, as a collector is one: OTLP over HTTP, with bodies in protobuf."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

WAIT_S = 30.0


@dataclass(frozen=True)
class Received:
    """One span, as it was sent."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: str
    failed: bool
    values: dict[str, Any]


@dataclass
class Receiver:
    """What came in. `url` is the setting `tracing.endpoint`."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> Received:
        """The only span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def wait(self, enough: Callable[["Receiver"], bool]) -> None:
        """Wait until enough has come."""
        late = time.monotonic() + WAIT_S
        while not enough(self):
            assert time.monotonic() < late, [(span.service, span.name) for span in self.spans]
            time.sleep(0.1)


@contextmanager
def receiving() -> Generator[Receiver, None, None]:
    """A receiver until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                receiver.spans += spans_of(body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def spans_of(body: bytes) -> list[Received]:
    """The spans of one request's body."""
    return [
        Received(
            service=_values(one.resource.attributes)["service.name"],
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            kind=Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            failed=span.status.code == Status.STATUS_CODE_ERROR,
            values=_values(span.attributes),
        )
        for one in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in one.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
