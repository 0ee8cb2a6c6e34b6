"""The log: how a line looks, as text or JSON, and the id of the request that it is about.

`services/hosting.py` installs it in every process. Whoever logs uses Python's `logging`; `fields`
adds what a program reads. A line never holds what a client wrote or a secret.
"""

import asyncio
import atexit
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

import msgspec

from tiffin.config.telemetry import LogSettings

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that the code runs for; the lines logged meanwhile name it."""

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
"""Printable ASCII without blanks, quotes, equals signs and backslashes."""

ACCESS = "tiffin.access"
"""The logger of the lines about requests (`tiffin.api.middleware.access_log`)."""

GATHER_S = 0.1

OURS = ("bentoml", "tiffin", "models")
"""The loggers whose level the setting is; others write warnings."""


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """The `extra` of a log call: fields of the line, in their order."""
    return {"fields": values}


def install(settings: LogSettings, process: Callable[[], str]) -> None:
    """Have BentoML's handler write lines of ours. `process` names the one that writes.

    Without that handler, as in a test, only the levels are set.
    """
    # What a record would find out of its thread and process, at a third of a line's cost.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    level = settings.level.upper()
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    lines = JsonLines(process) if settings.format == "json" else TextLines(process)
    for handler in logging.getLogger("bentoml").handlers:
        handler.setFormatter(lines)
        handler.filters.clear()  # BentoML's adds to each line what ours does not show
        if isinstance(handler, logging.StreamHandler):
            access = logging.getLogger(ACCESS)
            access.handlers, access.propagate = [Gathered(handler)], False


class Gathered(logging.Handler):
    """Writes lines about requests together, a tenth of a second's at a time.

    Each write lets another thread take the interpreter from the event loop, which costs a request
    more than its line. A warning is written at once, with all that came before it.
    """

    def __init__(self, target: "logging.StreamHandler[Any]") -> None:
        super().__init__()
        self._target = target
        self._records: list[logging.LogRecord] = []
        self._waiting = False
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line; write it at once outside of an event loop."""
        self._records.append(record)
        if self._waiting and record.levelno < logging.WARNING:
            return
        try:
            if record.levelno < logging.WARNING:
                asyncio.get_running_loop().call_later(GATHER_S, self.flush)
                self._waiting = True
                return
        except RuntimeError:
            pass
        self.flush()

    def flush(self) -> None:
        """Write all that were taken."""
        self._waiting = False
        records, self._records = self._records, []
        if records:
            text = "\n".join(map(self._target.format, records))
            with self._target.lock or nullcontext():
                self._target.stream.write(f"{text}\n")
                self._target.flush()


class Lines(logging.Formatter):
    """What both forms share: the time, made once a second, and the fields of a line."""

    def __init__(self, process: Callable[[], str]) -> None:
        super().__init__()
        self.process = process
        self._second, self._shown = 0, ""

    def time_of(self, record: logging.LogRecord) -> str:
        """Such as `2026-01-31T12:00:00.250Z`."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._shown}.{int(record.created % 1 * 1000):03}Z"

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        """Those of the line, and its request's id."""
        given: dict[str, Any] = getattr(record, "fields", {})
        about = request_id.get()
        return given if "request_id" in given or not about else {"request_id": about, **given}

    def trace_of(self, record: logging.LogRecord) -> str:
        """The traceback of an exception; empty if there is none."""
        return self.formatException(record.exc_info) if record.exc_info else ""


class TextLines(Lines):
    """`time [LEVEL] [process] message key=value ...`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it."""
        words = [f"{self.time_of(record)} [{record.levelname}] [{self.process()}]"]
        words.append(record.getMessage())
        for name, value in self.fields_of(record).items():
            kind = type(value)
            plain = kind is int or kind is float or (kind is str and _PLAIN.fullmatch(value))
            words.append(f"{name}={value}" if plain else f"{name}={_quoted(value)}")
        line = " ".join(words)
        trace = self.trace_of(record)
        return f"{line}\n{trace}" if trace else line


class JsonLines(Lines):
    """One object a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; a traceback is its `exception`."""
        line = {
            "time": self.time_of(record),
            "level": record.levelname.lower(),
            "process": self.process(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields_of(record),
        }
        if trace := self.trace_of(record):
            line["exception"] = trace
        return msgspec.json.encode(line, enc_hook=str).decode()


def _quoted(value: object) -> str:
    """A value as JSON: nothing that a client named breaks the line."""
    return msgspec.json.encode(value, enc_hook=str).decode()
