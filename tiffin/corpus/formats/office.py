"""Word, PowerPoint and Excel in their XML formats: mammoth, python-pptx and calamine read them.

`archive.py` has looked at the archive before: none is a bomb, has macros or declares XML entities.
"""

import datetime as dt
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

from tiffin.corpus.document import Unreadable
from tiffin.corpus.formats.archive import check
from tiffin.corpus.formats.html import html_text
from tiffin.corpus.outline import Outline


def read_docx(data: bytes, name: str, _: str | None, outline: Outline) -> None:
    """Headings, paragraphs, lists, tables and footnotes; tracked deletions are left out."""
    import mammoth

    check(data, name)
    no_image = mammoth.images.img_element(lambda _: {})
    page = mammoth.convert_to_html(
        BytesIO(data),
        include_embedded_style_map=False,
        style_map="p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh",
        convert_image=no_image,
    )
    html_text(page.value, outline)


def read_pptx(data: bytes, name: str, _: str | None, outline: Outline) -> None:
    """A slide a page: its title is a heading, and the speaker's notes come last."""
    from pptx import Presentation

    check(data, name)
    for number, slide in enumerate(Presentation(BytesIO(data)).slides, start=1):
        outline.page = number
        title = slide.shapes.title
        outline.heading(
            1,
            title.text_frame.text if title is not None else f"Slide {number}",
            said=title is not None,
        )
        for shape in _shapes(slide.shapes):
            if title is not None and shape.shape_id == title.shape_id:
                continue
            _shape(shape, outline)
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame):
            outline.add(notes.text)


def _shapes(shapes: Any) -> Iterator[Any]:  # noqa: ANN401  python-pptx' shapes share no type
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _shape(shape: Any, outline: Outline) -> None:  # noqa: ANN401
    if getattr(shape, "has_table", False):
        outline.table([cell.text for cell in row.cells] for row in shape.table.rows)
    elif getattr(shape, "has_text_frame", False):
        paragraphs = [item for item in shape.text_frame.paragraphs if item.text.strip()]
        if shape.is_placeholder and len(paragraphs) > 1:
            lines = ("  " * item.level + "- " + " ".join(item.text.split()) for item in paragraphs)
            outline.add("\n".join(lines), "list")
        else:
            outline.add("\n".join(item.text for item in paragraphs))


def read_xlsx(data: bytes, name: str, _: str | None, outline: Outline) -> None:
    """A sheet a page, its name a heading. An empty row ends a table."""
    import python_calamine as calamine

    check(data, name)
    try:
        book = calamine.load_workbook(BytesIO(data))
    except calamine.PasswordError as error:
        raise Unreadable(f"{name}: needs a password; save it without one") from error
    for number, title in enumerate(book.sheet_names, start=1):
        outline.page = number
        outline.heading(1, title, said=False)
        block: list[list[str]] = []
        for row in book.get_sheet_by_name(title).iter_rows():
            cells = [_cell(value) for value in row]
            if any(cells):
                block.append(cells)
            else:
                _block(block, outline)
                block = []
        _block(block, outline)


def _block(rows: list[list[str]], outline: Outline) -> None:
    """Rows of a single cell at the top are a caption; columns without any cell are left out."""
    if rows and all(sum(map(bool, row)) == 1 for row in rows):
        outline.add("\n".join("".join(row) for row in rows), "list" if len(rows) > 1 else "prose")
        return
    while rows and sum(map(bool, rows[0])) == 1:
        outline.add(next(filter(None, rows[0])))
        rows = rows[1:]
    used = [
        column
        for column in range(max(map(len, rows), default=0))
        if any(row[column] for row in rows)
    ]
    outline.table([row[column] for column in used] for row in rows)


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(cast("Any", value)).strip()
