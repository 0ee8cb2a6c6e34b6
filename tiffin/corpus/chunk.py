"""Cuts a parsed document into chunks that an encoder reads whole, along its structure.

A chunk ends at a heading. Below that it holds whole blocks if they fit, else whole sentences, rows,
items and lines; only what is longer than a chunk by itself is cut within. Every character but white
space is within the span of a chunk.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tiffin.core.sentences import leans, split_sentences
from tiffin.corpus.document import Chunk, Parsed, Part

Count = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, as the encoder counts them, without those that it adds by itself."""

OVERLAP = 8
"""A sentence that is cut goes on with this share (an eighth) of a chunk from before the cut."""
HEADER = 2
"""A table's header is repeated if it takes at most this share (a half) of a chunk."""
ROOM = 2
"""A block that fits into a chunk begins a new one if this share (a half) of the last is used."""

_WORD_END = re.compile(r"\s+|(?<=[、。，；！？,;/|])")  # noqa: RUF001  full-width marks
_LINES = re.compile(r"[^\n]+")


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is only cut if it alone is too long: a sentence, a row, an item, a line."""

    start: int
    end: int
    tokens: int
    part: Part
    block: int
    """Units of one block (paragraph, list, table) stay together if they fit."""
    header: tuple[int, int] | None = None
    """The header of the table of which this is a row."""


def chunk(parsed: Parsed, count: Count, limit: int) -> list[Chunk]:
    """The document in chunks of at most `limit` tokens each, in order.

    Chunks overlap where a sentence needs it: if it is longer than `limit`, the next chunk goes on a
    little before the cut; if it begins with a word such as "it", the one before it comes along.
    """
    return [
        made
        for section in _sections(_sized(parsed, count, limit))
        for group in _grouped(parsed.text, section, limit)
        for made in _made(parsed.text, group, count, limit)
    ]


def _units(parsed: Parsed) -> Iterator[_Unit]:
    """All units in order, not counted yet."""
    block = 0
    run: list[Part] = []
    for part in parsed.parts:
        if run and (part.kind != "prose" or "\n\n" in parsed.text[run[-1].end : part.start]):
            yield from _of_prose(parsed.text, run, block)
            run = []
            block += 1
        if part.kind == "prose":
            run.append(part)
            continue
        spans = [(part.start, part.end)]
        if part.kind != "heading":
            spans = [match.span() for match in _LINES.finditer(parsed.text, part.start, part.end)]
        header = spans[0] if part.kind == "table" and len(spans) > 1 else None
        for start, end in spans:
            yield _Unit(start, end, 0, part, block, header)
        block += 1
    if run:
        yield from _of_prose(parsed.text, run, block)


def _of_prose(text: str, run: Sequence[Part], block: int) -> Iterator[_Unit]:
    """The sentences of a paragraph, which may go on from one page to the next.

    What stands between two sentences, such as a row of stars, belongs to the first.
    """
    first, end = run[0].start, run[-1].end
    found = split_sentences(text[first:end])
    starts = [first, *(first + sentence.start for sentence in found[1:])]
    for start, following in zip(starts, [*starts[1:], end], strict=True):
        part = next(part for part in reversed(run) if part.start <= start)
        yield _Unit(start, start + len(text[start:following].rstrip()), 0, part, block)


def _sized(parsed: Parsed, count: Count, limit: int) -> list[_Unit]:
    """The units with their tokens. Those that are too long are cut."""
    found = list(_units(parsed))
    tokens = count([parsed.text[unit.start : unit.end] for unit in found])
    return [
        piece
        for unit, size in zip(found, tokens, strict=True)
        for piece in _pieces(parsed.text, replace(unit, tokens=size), count, limit)
    ]


def _pieces(text: str, unit: _Unit, count: Count, limit: int) -> Iterator[_Unit]:
    """The unit, or overlapping pieces of it that fit, cut between words if there are any."""
    start = unit.start
    while True:
        end, tokens = _fitting(text, start, unit, count, limit)
        yield replace(unit, start=start, end=end, tokens=tokens)
        if end >= unit.end:
            return
        back = max(start + 1, end - max(1, (end - start) // OVERLAP))
        words = [match.end() for match in _WORD_END.finditer(text, back, end)]
        start = words[0] if words else end


def _fitting(text: str, start: int, unit: _Unit, count: Count, limit: int) -> tuple[int, int]:
    """Where the longest piece that fits ends, and its tokens. At least one character long."""
    if start == unit.start and unit.tokens <= limit:
        return unit.end, unit.tokens
    low, high = start + 1, min(unit.end, start + 16 * limit)
    while low < high:
        middle = (low + high + 1) // 2
        if count([text[start:middle]])[0] <= limit:
            low = middle
        else:
            high = middle - 1
    if low < unit.end:
        words = [m.end() for m in _WORD_END.finditer(text, start + (low - start + 1) // 2, low)]
        low = words[-1] if words else low
    return low, count([text[start:low]])[0]


def _sections(units: Sequence[_Unit]) -> Iterator[list[_Unit]]:
    """What stands under one heading, with the headings right above it."""
    section: list[_Unit] = []
    for unit in units:
        only_headings = all(item.part.kind == "heading" for item in section)
        if section and not only_headings and unit.part.headings != section[-1].part.headings:
            yield section
            section = []
        section.append(unit)
    if section:
        yield section


def _grouped(text: str, section: Sequence[_Unit], limit: int) -> Iterator[list[_Unit]]:
    """The units of each chunk."""
    sizes: dict[int, int] = {}
    headers = {(unit.start, unit.end): unit.tokens + 1 for unit in section if unit.header}
    for unit in section:
        sizes[unit.block] = sizes.get(unit.block, 0) + unit.tokens + 1
    group: list[_Unit] = []
    used = 0
    for unit in section:
        size = unit.tokens + 1  # the line end may be a token
        begins = bool(group) and group[-1].block != unit.block
        block = sizes[unit.block]
        better_alone = begins and used + block > limit >= block and ROOM * used >= limit
        if group and (used + size > limit or better_alone):
            yield group
            group = _needed(text, group[-1], unit, limit)
            used = sum(item.tokens + 1 for item in group)
            used += headers.get(unit.header, 0) if unit.header else 0
        group.append(unit)
        used += size
    yield group


def _needed(text: str, last: _Unit, unit: _Unit, limit: int) -> list[_Unit]:
    """The sentence before this one, if this one leans on it and a half of the chunk is left."""
    both = last.tokens + unit.tokens + 2
    fits = last.block == unit.block and unit.part.kind == "prose" and ROOM * both <= limit
    return [last] if fits and leans(text[unit.start : unit.end]) else []


def _made(text: str, group: Sequence[_Unit], count: Count, limit: int) -> Iterator[Chunk]:
    """The chunk of the units; two, if they are longer together than each by itself."""
    first, last = group[0], group[-1]
    said = text[first.start : last.end]
    header = ""
    if first.header is not None and first.header[1] <= first.start:
        header = text[slice(*first.header)] + "\n"
    tokens = count([header + said])[0]
    if header and tokens > limit and HEADER * count([header])[0] > limit:
        header, tokens = "", count([said])[0]
    if tokens > limit and len(group) > 1:
        middle = len(group) // 2
        yield from _made(text, group[:middle], count, limit)
        yield from _made(text, group[middle:], count, limit)
    elif tokens > limit and header:
        yield from _rows_cut(text, first, header, count, limit)
    else:
        part = last.part if first.part.kind == "heading" else first.part
        yield Chunk(header + said, first.start, last.end, first.part.page, part.headings)


def _rows_cut(text: str, row: _Unit, header: str, count: Count, limit: int) -> Iterator[Chunk]:
    """A row that fits, but not with its header: in pieces, each with the header."""
    left = max(1, limit - count([header])[0] - 1)
    for piece in _pieces(text, replace(row, tokens=left + 1), count, left):
        said = header + text[piece.start : piece.end]
        yield Chunk(said, piece.start, piece.end, row.part.page, row.part.headings)
