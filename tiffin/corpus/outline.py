"""Builds a Parsed: readers of formats say what follows, and the outline keeps text and headings."""

from collections.abc import Iterable

from tiffin.corpus.document import Kind, Parsed, Part
from tiffin.corpus.mend import HYPHENS, clean, mended

BETWEEN_CELLS = " | "


class Outline:
    """Collects the parts of one document in order. Spans are code points of the text so far."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._parts: list[Part] = []
        self._path: list[tuple[int, str]] = []
        self.page: int | None = None
        """The page, slide or sheet of what follows."""

    @property
    def parts(self) -> int:
        """How many there are so far."""
        return len(self._parts)

    def heading(self, level: int, title: str, *, said: bool = True) -> None:
        """A heading for what follows; it closes those of its level and below.

        One that is not `said` is no part of the text: a bookmark, or the name of a sheet.
        """
        title = " ".join(clean(title).split())
        if not title:
            return
        self._path = [*(item for item in self._path if item[0] < level), (level, title)]
        if said:
            self._append(title, "heading", "\n\n")

    def add(self, text: str, kind: Kind = "prose") -> None:
        """A part. White space around it is not kept, but that before the first line of code is."""
        text = clean(text)
        text = text.strip("\n").rstrip() if kind == "code" else text.strip()
        if text:
            self._append(text, kind, "\n\n")

    def go_on(self, text: str, known: frozenset[str] = frozenset()) -> None:
        """Prose that goes on in the sentence with which the last part ends: after a page's end."""
        text = clean(text).strip()
        last = self._pieces[-1] if self._pieces else ""
        if not text or not last:
            self.add(text)
        elif last[-1] in HYPHENS and text[0].islower():
            kept = mended(last, text, known).removesuffix(text)
            self._shorten(len(last) - len(kept))
            self._append(text, "prose", "")
        else:
            self._append(text, "prose", " ")

    def table(self, rows: Iterable[Iterable[str]]) -> None:
        """A table, a row in each line; its first row is its header."""
        lines = [[" ".join(cell.split()) for cell in row] for row in rows]
        self.add("\n".join(BETWEEN_CELLS.join(row) for row in lines if any(row)), "table")

    def parsed(self, media_type: str) -> Parsed:
        """The document as it is now."""
        return Parsed("".join(self._pieces), tuple(self._parts), media_type)

    def _append(self, text: str, kind: Kind, between: str) -> None:
        if self._pieces:
            self._pieces.append(between)
            self._length += len(between)
        start, self._length = self._length, self._length + len(text)
        self._pieces.append(text)
        path = tuple(title for _, title in self._path)
        self._parts.append(Part(start, self._length, self.page, path, kind))

    def _shorten(self, characters: int) -> None:
        """Take characters off the end of the last part."""
        if not characters:
            return
        last = self._parts[-1]
        self._pieces[-1] = self._pieces[-1][:-characters]
        self._length -= characters
        end = last.end - characters
        self._parts[-1] = Part(last.start, end, last.page, last.headings, last.kind)
