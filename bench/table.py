"""A benchmark's result as Markdown. Used by every benchmark of this folder."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """What was measured, with the figure to reach and what it means in words."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        lines = [f"### {self.title}", "", _line(self.header), _line(["---"] * len(self.header))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
