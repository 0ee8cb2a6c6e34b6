"""Questions with documents and right answers: a user's own file, or SQuAD out of the lab.

A file has one JSON object a line:

    {"question": "...", "documents": ["..."], "answers": ["30 days"]}

Without `answers` (or with none) no document answers the question, and the right answer is a
refusal. `supporting` names sentences of the documents that answer; `group` is what belongs together
(an article, say) when intervals are drawn; `part` is for `--part`.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tiffin.cli.json_lines import rows_of
from tiffin.config.section import SettingsError
from tiffin.core.values import Document

Part = Literal["development", "test"]


class Asked(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    documents: tuple[str | Document, ...] = Field(min_length=1)
    answers: tuple[str, ...] = ()
    supporting: tuple[str, ...] = ()
    id: str = ""
    kind: str = ""
    group: str = ""
    part: Part | None = None

    def texts(self) -> list[str]:
        """The texts of the documents."""
        return [item if isinstance(item, str) else item.text for item in self.documents]


def of_file(path: Path, part: Part | None, limit: int | None) -> list[Asked]:
    """The questions of a file. Raises SettingsError with the number of the first bad line."""
    found = [
        asked.model_copy(update={"group": asked.group or place})
        for place, asked in rows_of(path, Asked)
        if part is None or asked.part == part
    ]
    if not found:
        raise SettingsError(f"{path}: no questions" + (f" of the part {part!r}" if part else ""))
    return found[:limit]


def of_squad(part: Part, limit: int | None) -> Sequence[Asked]:
    """SQuAD's questions, each over ten passages with and without the right one."""
    if find_spec("lab") is None:
        message = "SQuAD's questions come with the lab/ folder of a clone of Tiffin; name a FILE"
        raise SettingsError(message)
    cases = import_module("lab.answers.data").squad_cases(part, limit)
    return [
        Asked(
            question=case.question,
            documents=case.passages,
            answers=case.answers,
            group=case.group,
            part=part,
        )
        for case in cases
    ]
