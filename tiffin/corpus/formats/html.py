"""HTML by the standard library's tokenizer. Nothing is fetched, and what is hidden is not read.

Markdown's HTML blocks, e-mails and DOCX (which mammoth turns into HTML) come here, too.
"""

# Tables of words are read as lines of text.
# ruff: noqa: SIM905

import re
from html import unescape
from html.parser import HTMLParser
from typing import Literal

from tiffin.corpus.formats.plain import decode
from tiffin.corpus.outline import Outline

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_UNSEEN = frozenset("iframe nav noscript object script style svg template textarea title".split())
_VOID = frozenset("area base br col embed hr img input link meta source wbr".split())
_CLOSED_BY_THE_NEXT = frozenset("dd dt li option p td th tr".split())
_BLOCKS = frozenset(
    "address article aside blockquote body button caption center dd details dialog div dl dt "
    "fieldset figcaption figure footer form header hr legend main optgroup option p section "
    "select summary".split()
)
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([-\w]+)""", re.IGNORECASE)

Mode = Literal["prose", "heading", "list", "table", "code"]


def read_html(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """The visible text of a page. Its title counts as a heading if it has no `h1`."""
    declared = _CHARSET.search(data[:4096])
    encoding = charset or (declared.group(1).decode("ascii") if declared else None)
    html_text(decode(data, name, encoding), outline)


def html_text(page: str, outline: Outline) -> None:
    """The same of a page that is decoded already."""
    title = re.search(r"<title[^>]*>([^<]{1,500})</title>", page[:100_000], re.IGNORECASE)
    if title and not re.search(r"<h1[\s>]", page, re.IGNORECASE):
        outline.heading(0, unescape(title.group(1)), said=False)
    reader = _Page(outline)
    reader.feed(page)
    reader.close()
    reader.flush()


class _Page(HTMLParser):
    """Adds to the outline whenever a block ends."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(convert_charrefs=True)
        self._outline = outline
        self._text: list[str] = []
        self._mode: Mode = "prose"
        self._level = 0
        self._unseen = ""
        self._unseen_depth = 0
        self._lists: list[int | None] = []
        self._items: list[str] = []
        self._rows: list[list[str]] = []
        self._tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen == tag and tag in _CLOSED_BY_THE_NEXT:
            self._unseen = ""
        if self._unseen:
            self._unseen_depth += tag == self._unseen
        elif tag not in _VOID and (tag in _UNSEEN or _hidden(dict(attrs))):
            self._unseen, self._unseen_depth = tag, 1
        elif tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._text.append(dict(attrs).get("alt") or "")
        elif tag == "table":
            if not self._tables:
                self.flush()
                self._mode = "table"
            self._tables += 1
        elif self._tables:
            self._in_table(tag)
        else:
            self._open_block(tag, dict(attrs))

    def _in_table(self, tag: str) -> None:
        if self._tables > 1 or tag not in {"tr", "td", "th", "caption"}:
            self._text.append(" " if tag in _BLOCKS or tag in {"li", "tr", "td", "th"} else "")
            return
        self._end_cell()
        if tag == "tr" or not self._rows:
            self._rows.append([])
        if tag != "tr":
            self._rows[-1].append("")

    def _open_block(self, tag: str, attrs: dict[str, str | None]) -> None:
        if tag in {"ul", "ol"}:
            self._end_item() if self._lists else self.flush()
            first = attrs.get("start") or "1"
            number = (int(first) if first.isdecimal() else 1) if tag == "ol" else None
            self._lists.append(number)
            self._mode = "list"
        elif tag == "li":
            self._end_item()
            self._mode = "list"
        elif tag in _HEADINGS:
            self.flush()
            self._mode, self._level = "heading", _HEADINGS[tag]
        elif tag == "pre":
            self.flush()
            self._mode = "code"
        elif tag in _BLOCKS and self._mode != "code":
            self._break()

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            self._unseen_depth -= tag == self._unseen
            if not self._unseen_depth:
                self._unseen = ""
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_table()
        elif self._tables:
            if tag in {"td", "th", "caption"} and self._tables == 1:
                self._end_cell()
        else:
            self._close_block(tag)

    def _close_block(self, tag: str) -> None:
        if tag in {"ul", "ol"} and self._lists:
            self._end_item()
            self._lists.pop()
            if not self._lists:
                self.flush()
        elif tag == "li":
            self._end_item()
        elif tag in _HEADINGS or tag == "pre":
            self.flush()
        elif tag in _BLOCKS:
            self._break()

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._text.append(data if self._mode == "code" else re.sub(r"\s+", " ", data))

    def flush(self) -> None:
        """Add what was read as one part."""
        if self._rows or self._tables:
            self._tables = 0
            self._end_table()
        text, mode = "".join(self._text), self._mode
        self._text = []
        self._mode = "prose"
        if self._lists or self._items:
            self._take_item(text)
            items, self._items = self._items, []
            self._lists = []
            self._outline.add("\n".join(items), "list")
        elif mode == "heading":
            self._outline.heading(self._level, text)
        else:
            self._outline.add(text if mode == "code" else _lines(text), mode)

    def _break(self) -> None:
        """A block begins or ends: within an item, a cell or a heading it is only a space."""
        if self._mode in {"heading", "list"}:
            self._text.append(" ")
        else:
            self.flush()

    def _end_item(self) -> None:
        text, self._text = "".join(self._text), []
        self._take_item(text)

    def _take_item(self, text: str) -> None:
        text = " ".join(text.split())
        if not text:
            return
        number = self._lists[-1] if self._lists else None
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        indent = "  " * (len(self._lists) - 1)
        self._items.append(f"{indent}{'-' if number is None else f'{number}.'} {text}")

    def _end_cell(self) -> None:
        text, self._text = "".join(self._text), []
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += text
        elif text.strip():
            self._outline.add(text)

    def _end_table(self) -> None:
        self._end_cell()
        rows, self._rows = self._rows, []
        self._mode = "prose"
        if max(map(len, rows), default=0) > 1:
            self._outline.table(rows)
        else:  # a frame for the layout
            for row in rows:
                self._outline.add(_lines("".join(row)))


def _hidden(attrs: dict[str, str | None]) -> bool:
    return (
        "hidden" in attrs
        or attrs.get("aria-hidden") == "true"
        or attrs.get("role") == "navigation"
        or _HIDING.search((attrs.get("style") or "").lower()) is not None
    )


def _lines(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))
