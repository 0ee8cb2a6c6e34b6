"""The settings of what an operator reads: the log and, by an extra, the traces."""

from typing import Annotated, Literal

from pydantic import Field

from tiffin.config.section import Section


class LogSettings(Section):
    """The log, which every process writes to standard output."""

    format: Literal["text", "json"] = "text"
    """`json` writes each line as an object."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written; `warning` leaves the requests out."""


class TracingSettings(Section):
    """Traces by OpenTelemetry, with the extra `tracing`; off without an endpoint."""

    endpoint: Annotated[str | None, Field(pattern=r"^https?://")] = None
    """An OTLP/HTTP receiver, such as `http://localhost:4318`; if unset, nothing is traced."""
    sample_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the requests that are traced, unless the caller's `traceparent` decides."""
    content: bool = False
    """Whether spans hold what LLMs read and wrote. It may be personal data."""
