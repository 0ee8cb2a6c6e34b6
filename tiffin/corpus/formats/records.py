"""Tables and records in text files: CSV, TSV, JSON and JSON lines."""

import csv
import json
import sys
from collections.abc import Iterator
from typing import Any

from tiffin.corpus.document import Unreadable
from tiffin.corpus.formats.plain import decode
from tiffin.corpus.outline import Outline

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 30


def read_csv(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """One table. The delimiter is the one that parts most lines into equally many cells."""
    text = decode(data, name, charset)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = text.splitlines()[:_SAMPLE_LINES]
    delimiter = "\t" if name.lower().endswith(".tsv") else _delimiter(lines)
    try:
        outline.table(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))
    except csv.Error as error:
        raise Unreadable(f"{name}: no CSV ({error}); save it as CSV in UTF-8") from error


def _delimiter(lines: list[str]) -> str:
    def fit(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)

    return max(_DELIMITERS, key=fit)


def read_json_lines(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """A part a record. Raises Unreadable, which names the first line that is no JSON."""
    for number, line in enumerate(decode(data, name, charset).split("\n"), start=1):
        if line.strip():
            _record(_loaded(line, f"{name}: line {number}"), outline)


def read_json(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """A part an element, if it is an array; else one part."""
    value = _loaded(decode(data, name, charset), name)
    for record in value if isinstance(value, list) else [value]:
        _record(record, outline)


def _loaded(text: str, where: str) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise Unreadable(f"{where}: no JSON ({said}); write one value a line") from error


def _record(record: Any, outline: Outline) -> None:  # noqa: ANN401  JSON
    fields = [(path, text) for path, text in _fields(record, "") if text.strip()]
    if len(fields) == 1:
        outline.add(fields[0][1])
    elif fields:
        outline.add("\n".join(f"{path}: {text}" if path else text for path, text in fields))


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  JSON
    """Every value with the way to it: `address.city`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if all(isinstance(inner, str | int | float) for inner in value):
            yield path, ", ".join(_said(inner) for inner in value)
        else:
            for inner in value:
                yield from _fields(inner, path)
    else:
        yield path, _said(value)


def _said(value: Any) -> str:  # noqa: ANN401  JSON
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
