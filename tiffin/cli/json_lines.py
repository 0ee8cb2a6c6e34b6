"""Reads a user's file with one JSON object a line. Used by `questions.py` and `calibrate.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tiffin.config.section import SettingsError

Row = TypeVar("Row", bound=BaseModel)


def rows_of(path: Path, kind: type[Row]) -> Iterator[tuple[str, Row]]:
    """Each object with where it stands, such as "line 3"; empty lines are left out.

    Raises SettingsError for a line that is none of that kind.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            yield place, kind.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            field = ".".join(map(str, problem["loc"])) or "the line"
            raise SettingsError(f"{path}, {place}: {field}: {problem['msg']}") from None
