"""How a line of the log looks, for people and for programs."""

import asyncio
import io
import json
import logging
import sys

from tiffin.telemetry.logs import GATHER_S, Gathered, JsonLines, TextLines, fields, request_id


def process() -> str:
    return "RAG:1"


def record(message: str, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("tiffin.access", logging.INFO, "", 0, message, None, None)
    made.created = 1_769_860_800.25
    vars(made).update(fields(**values))
    return made


def test_a_line_says_when_who_what_and_its_fields() -> None:
    line = TextLines(process).format(record("request", request_id="r1", status=200, tier="small"))
    assert line == (
        "2026-01-31T12:00:00.250Z [INFO] [RAG:1] request request_id=r1 status=200 tier=small"
    )


def test_nothing_that_a_client_names_makes_a_second_line_or_field() -> None:
    path = 'a status=500\nfake "line" é\x1b[31m'
    line = TextLines(process).format(record("request", path=path))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line.partition("path=")[2]) == path


def test_as_json_each_line_is_an_object() -> None:
    line = json.loads(JsonLines(process).format(record("request", request_id="r1", ms=1.5)))
    assert line == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "info",
        "process": "RAG:1",
        "logger": "tiffin.access",
        "message": "request",
        "request_id": "r1",
        "ms": 1.5,
    }


def test_a_line_that_is_written_during_a_request_names_it() -> None:
    token = request_id.set("r2")
    try:
        assert TextLines(process).format(record("a tier failed")).endswith("request_id=r2")
    finally:
        request_id.reset(token)
    assert TextLines(process).format(record("a tier failed")).endswith("a tier failed")


def test_an_exception_comes_with_its_traceback() -> None:
    made = record("broken")
    try:
        int("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert TextLines(process).format(made).endswith("'why'")
    assert json.loads(JsonLines(process).format(made))["exception"].endswith("'why'")


async def test_lines_about_requests_are_written_together_and_a_warning_at_once() -> None:
    written = io.StringIO()
    target = logging.StreamHandler(written)
    target.setFormatter(TextLines(process))
    gathered = Gathered(target)
    gathered.handle(record("request", request_id="r1"))
    gathered.handle(record("request", request_id="r2"))
    assert written.getvalue() == ""
    failed = record("request", request_id="r3")
    failed.levelno = logging.WARNING
    gathered.handle(failed)
    names = [line.partition("request_id=")[2] for line in written.getvalue().splitlines()]
    assert names == ["r1", "r2", "r3"]
    gathered.handle(record("request", request_id="r4"))
    await asyncio.sleep(2 * GATHER_S)
    assert written.getvalue().endswith("request_id=r4\n")
