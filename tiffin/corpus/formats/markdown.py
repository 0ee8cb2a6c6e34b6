"""Markdown (CommonMark with tables) by markdown-it. What is marked up becomes plain text."""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tiffin.corpus.formats.html import html_text
from tiffin.corpus.formats.plain import decode
from tiffin.corpus.outline import Outline

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def read_markdown(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """The parts of a Markdown file; its front matter is a part, as it stands."""
    text = decode(data, name, charset).replace("\r\n", "\n")
    if front := _FRONT_MATTER.match(text):
        outline.add(front.group(1), "code")
        text = text[front.end() :]
    _Blocks(outline).read(MarkdownIt("commonmark").enable("table").parse(text))


class _Blocks:
    """Walks over the tokens, of which those of a block enclose those of its content."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._lists: list[int | None] = []
        self._items: list[str] = []
        self._opened = False
        self._rows: list[list[str]] = []

    def read(self, tokens: Sequence[Token]) -> None:
        level = 0
        for token in tokens:
            match token.type:
                case "heading_open":
                    level = int(token.tag[1:])
                case "heading_close":
                    level = 0
                case "inline":
                    self._inline(_plain(token.children or []), level)
                case "fence" | "code_block":
                    self._code(token.content)
                case "html_block":
                    html_text(token.content, self._outline)
                case "tr_open":
                    self._rows.append([])
                case "table_close":
                    rows, self._rows = self._rows, []
                    self._outline.table(rows)
                case _:
                    self._list(token)

    def _list(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._lists.append(None)
            case "ordered_list_open":
                self._lists.append(int(token.attrGet("start") or 1))
            case "list_item_open":
                self._opened = True
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
                if not self._lists:
                    self._end_list()
            case _:
                pass

    def _inline(self, text: str, level: int) -> None:
        if self._rows:
            self._rows[-1].append(text)
        elif self._lists:
            self._item(text)
        elif level:
            self._outline.heading(level, text)
        else:
            self._outline.add(text)

    def _item(self, text: str) -> None:
        indent = "  " * (len(self._lists) - 1)
        mark = "  "
        if self._opened:
            number = self._lists[-1]
            mark = "- " if number is None else f"{number}. "
            if number is not None:
                self._lists[-1] = number + 1
        self._opened = False
        self._items.append(indent + mark + " ".join(text.split()))

    def _code(self, text: str) -> None:
        if self._lists:
            self._end_list()
        self._outline.add(text, "code")

    def _end_list(self) -> None:
        items, self._items = self._items, []
        self._outline.add("\n".join(items), "list")


def _plain(tokens: Sequence[Token]) -> str:
    """The words of a line: of links their text, of images what stands for them."""
    said = {"softbreak": " ", "hardbreak": "\n"}
    return "".join(
        _plain(token.children)
        if token.type == "image" and token.children
        else token.content
        if token.type in {"text", "code_inline"}
        else said.get(token.type, "")
        for token in tokens
    )
