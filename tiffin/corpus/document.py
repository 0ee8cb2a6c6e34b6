"""What a document becomes in a corpus: `parse.py` makes a Parsed of it, `chunk.py` Chunks."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["prose", "heading", "list", "table", "code"]


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of the extracted text, of one kind."""

    start: int
    """Where it starts in `Parsed.text`, in code points."""
    end: int
    page: int | None
    """Page of a PDF, slide or sheet, from 1. None if the format has none."""
    headings: tuple[str, ...]
    """The headings above it, the outermost first. A heading holds itself as the last."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a document, mended, and its parts in order; they do not overlap."""

    text: str
    parts: tuple[Part, ...]
    media_type: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that an encoder reads whole."""

    text: str
    """What is embedded and quoted. A chunk of a table repeats the header of the table."""
    start: int
    """Where it starts in `Parsed.text`, in code points."""
    end: int
    page: int | None
    """Where it starts: the page of a PDF, the slide or the sheet, from 1."""
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ocr:
    """Where tesseract is, and the languages that it is to read, as it writes them: `deu+eng`."""

    program: str
    languages: str


class Unreadable(Exception):
    """A document whose text cannot be had. One line that names the file and the remedy."""


class Scanned(Unreadable):
    """A PDF whose pages hold no text, as if they were scanned."""
