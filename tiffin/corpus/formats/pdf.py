"""PDF by pdfium: lines with their place and size become paragraphs, headings and pages.

Bookmarks are the headings if there are any; else lines in letters that are larger than most. Lines
that come back on most pages, such as a page's number, are left out. Tables come as their lines.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median
from typing import Any

import pypdfium2 as pdfium

from tiffin.corpus.document import Scanned, Unreadable
from tiffin.corpus.mend import clean, compounds, unwrap
from tiffin.corpus.outline import Outline

LARGE = 1.15
"""A heading's letters are at least this many times as high as the letters of the text."""
MAX_HEADING_CHARS = 150
GAP = 0.6
"""A gap between two lines of this many line heights begins a paragraph."""
USUAL_GAP = 1.5
"""Or one that is this many times as wide as usual on the page."""
REPEATED = 0.6
"""A line at the top or the bottom of this share of the pages says nothing about its own."""
MIN_PAGES = 3

_BROKEN = "\ufffe"
"""What pdfium writes in place of a hyphen at a line's end and of that end."""
_LINE_END = re.compile(f"\r\n?|\n|{_BROKEN}")
_SENTENCE_END = re.compile(r"[.!?:;。！？：；][\"')\]”’»]*$")  # noqa: RUF001  full-width ends
_LIST_ITEM = re.compile(r"[-•‣◦▪●]\s|\d{1,3}[.)]\s|[a-z][.)]\s|\(\w{1,3}\)\s")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page; `top` and `bottom` in points from the page's lower edge, 0 if unknown."""

    page: int
    text: str
    top: float = 0.0
    bottom: float = 0.0

    @property
    def size(self) -> float:
        """How high its letters are, in half points, so that equal ones compare equal."""
        return round(2 * (self.top - self.bottom)) / 2


def read_pdf(data: bytes, name: str, _: str | None, outline: Outline) -> None:
    """The text of all pages. Raises Unreadable if there is none, or a password is needed."""
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable(f"{name}: needs a password; save it without one") from error
        raise Unreadable(
            f"{name}: a broken PDF ({error}); save or print it to PDF again"
        ) from error
    try:
        pages = len(document)
        lines = list(_without_repeated(list(_lines(document)), pages))
        bookmarks = list(_bookmarks(document))
    finally:
        document.close()
    if not lines:
        raise Scanned(
            f"{name}: holds no text on its pages ({pages}); if it is a scan, read it by OCR first, "
            "for instance with ocrmypdf, or have the operator set TIFFIN_OCR"
        )
    _Pages(outline, lines, bookmarks).read()


def _lines(document: Any) -> Iterator[Line]:  # noqa: ANN401  pypdfium2 has no types
    for number, page in enumerate(document, start=1):
        text_page = page.get_textpage()
        text = text_page.get_text_range()
        count = text_page.count_chars()
        start = 0
        for match in [*_LINE_END.finditer(text), None]:
            end = match.start() if match else len(text)
            raw = text[start:end]
            broken = match is not None and match.group() == _BROKEN
            words = clean(raw).strip() + "-" * broken
            at = start + len(raw) - len(raw.lstrip())
            if words:
                box = text_page.get_charbox(at, loose=True) if at < count else (0, 0, 0, 0)
                yield Line(number, words, top=box[3], bottom=box[1])
            start = match.end() if match else end
        text_page.close()
        page.close()


def _bookmarks(document: Any) -> Iterator[tuple[int, int, str]]:  # noqa: ANN401
    """The page, from 1, the level and the title of each."""
    for bookmark in document.get_toc():
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        title = " ".join(clean(bookmark.get_title()).split())
        if index is not None and title:
            yield index + 1, bookmark.level + 1, title


def _without_repeated(lines: list[Line], pages: int) -> Iterator[Line]:
    """The lines but those that head or foot most pages, whatever number stands in them."""
    by_page = [list(group) for _, group in groupby(lines, key=lambda line: line.page)]
    if pages < MIN_PAGES:
        yield from lines
        return
    seen = Counter(
        key for page in by_page for key in {_pattern(page[0].text), _pattern(page[-1].text)}
    )
    for page in by_page:
        for number, line in enumerate(page):
            edge = number in {0, len(page) - 1}
            if not (edge and seen[_pattern(line.text)] >= max(MIN_PAGES, REPEATED * pages)):
                yield line


def _pattern(text: str) -> str:
    return re.sub(r"\d+|\b[ivxl]+\b", "#", text.lower())


class _Pages:
    """Goes through the lines and adds paragraphs to the outline."""

    def __init__(
        self, outline: Outline, lines: Sequence[Line], bookmarks: Sequence[tuple[int, int, str]]
    ) -> None:
        self._outline = outline
        self._lines = lines
        self._bookmarks = list(bookmarks)
        self._known = compounds("\n".join(line.text for line in lines))
        heights = [line.size for line in lines for _ in range(1 + len(line.text) // 20)]
        self._body = median(heights)
        large = {line.size for line in lines if self._is_large(line)}
        self._levels = {size: level for level, size in enumerate(sorted(large, reverse=True), 1)}
        self._sentence_open = False

    def read(self) -> None:
        for number, lines in groupby(self._lines, key=lambda line: line.page):
            page = list(lines)
            self._outline.page = number
            longest = sorted(len(line.text) for line in page)[int(len(page) * 0.9)]
            usual = _usual_gap(page)
            block: list[Line] = []
            for line in page:
                if self._heading(line, block):
                    self._end(block, longest)
                    block = []
                    self._add_heading(line, number)
                    continue
                if block and _new_paragraph(block[-1], line, usual):
                    self._end(block, longest)
                    block = []
                block.append(line)
            self._end(block, longest)
            self._pass_bookmarks(number)

    def _is_large(self, line: Line) -> bool:
        return (
            self._body > 0
            and line.size >= LARGE * self._body
            and len(line.text) <= MAX_HEADING_CHARS
            and any(letter.isalpha() for letter in line.text)
        )

    def _heading(self, line: Line, block: Sequence[Line]) -> bool:
        if self._bookmarks:
            title = _folded(line.text)
            return any(
                page == line.page and _folded(name) in {title, _folded(_unnumbered(line.text))}
                for page, _, name in self._bookmarks
            )
        return self._is_large(line) and not (block and block[-1].size == line.size)

    def _add_heading(self, line: Line, page: int) -> None:
        title = _folded(line.text)
        for number, (at, level, name) in enumerate(self._bookmarks):
            if at == page and _folded(name) in {title, _folded(_unnumbered(line.text))}:
                for _, above, skipped in self._bookmarks[:number]:
                    self._outline.heading(above, skipped, said=False)
                del self._bookmarks[: number + 1]
                self._outline.heading(level, line.text)
                return
        self._outline.heading(self._levels.get(line.size, 1), line.text)

    def _pass_bookmarks(self, page: int) -> None:
        """Those whose title is not found as a line hold from the next page on."""
        while self._bookmarks and self._bookmarks[0][0] <= page:
            _, level, title = self._bookmarks.pop(0)
            self._outline.heading(level, title, said=False)

    def _end(self, block: Sequence[Line], longest: int) -> None:
        if not block:
            return
        text = unwrap("\n".join(line.text for line in block), self._known, longest)
        goes_on = self._sentence_open and not _LIST_ITEM.match(text)
        starts_page = self._outline.parts and self._outline.page != self._last_page
        if goes_on and starts_page and not text[0].isupper():
            self._outline.go_on(text, self._known)
        else:
            self._outline.add(text, "list" if _is_list(block) else "prose")
        self._sentence_open = _SENTENCE_END.search(text) is None and len(block) > 1
        self._last_page = self._outline.page

    _last_page: int | None = None


def _usual_gap(page: Sequence[Line]) -> float:
    gaps = [
        above.bottom - below.top
        for above, below in pairwise(page)
        if 0 <= above.bottom - below.top < 4 * max(1.0, above.size)
    ]
    return median(gaps) if gaps else 0.0


def _new_paragraph(above: Line, below: Line, usual: float) -> bool:
    """A wide gap, other letters, or a column's end where a sentence ends."""
    gap = above.bottom - below.top
    if not above.top or not below.top:
        return False
    if gap < -above.size:
        return _SENTENCE_END.search(above.text) is not None
    wide = max(GAP * above.size, USUAL_GAP * usual)
    return gap > wide or abs(above.size - below.size) > LARGE * above.size - above.size


def _is_list(block: Sequence[Line]) -> bool:
    return _LIST_ITEM.match(block[0].text) is not None


def _folded(text: str) -> str:
    return "".join(text.lower().split())


def _unnumbered(text: str) -> str:
    return re.sub(r"^[\dIVX]+(?:\.\d+)*[.)]?\s+", "", text)
