"""Makes real documents for the tests of corpora: small ones of each format, and broken ones."""

from collections.abc import Callable, Sequence
from email.message import EmailMessage
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import docx
import xlsxwriter
from docx.document import Document
from pptx import Presentation
from pptx.util import Inches

Line = tuple[float, float, float, str]
"""Left, baseline and size in points, and the text."""

_PAGE = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {} /Contents {} 0 R >>"
_FONT = (
    "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica "
    "/Encoding /WinAnsiEncoding >> >> >>"
)


def pdf(
    pages: Sequence[Sequence[Line]], bookmarks: Sequence[tuple[int, str]] = (), encrypt: str = ""
) -> bytes:
    """A PDF of these lines; `bookmarks` have a page, from 0, and a title."""
    first = 4 + len(bookmarks)
    objects = ["<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>", ""]
    kids = [f"{first + 2 * number} 0 R" for number in range(len(pages))]
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    last = 3 + len(bookmarks)
    objects.append(f"<< /Type /Outlines /First 4 0 R /Last {last} 0 R >>" if bookmarks else "<< >>")
    for number, (page, title) in enumerate(bookmarks, start=4):
        following = f"/Next {number + 1} 0 R" if number < last else ""
        objects.append(
            f"<< /Title ({title}) /Parent 3 0 R /Dest [{kids[page]} /Fit] {following} >>"
        )
    for number, lines in enumerate(pages):
        drawn = "\n".join(
            f"BT /F {size} Tf {x} {y} Td ({_escaped(text)}) Tj ET" for x, y, size, text in lines
        )
        objects.append(_PAGE.format(f"/Resources {_FONT}", first + 2 * number + 1))
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    return _pdf_file(objects, encrypt)


def scanned_pdf(grey: bytes = b"\x7f", width: int = 1) -> bytes:
    """A page that is an image of these grey pixels, in rows of this width."""
    image = f"<< /Type /XObject /Subtype /Image /Width {width} /Height {len(grey) // width} "
    image += f"/ColorSpace /DeviceGray /BitsPerComponent 8 /Length {len(grey)} >>"
    drawn = "595 0 0 842 0 0 cm /I Do"
    return _pdf_file(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            _PAGE.format("/Resources << /XObject << /I 5 0 R >> >>", 4),
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
            image + f"\nstream\n{grey.decode('latin-1')}\nendstream",
        ]
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _pdf_file(objects: Sequence[str], encrypt: str = "") -> bytes:
    written, places = b"%PDF-1.6\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R {encrypt} >>"
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer {trailer}\n"
    return written + f"{end}startxref\n{len(written)}\n%%EOF".encode()


PASSWORD_NEEDED = (
    f"/ID [<{'00' * 16}> <{'00' * 16}>] "
    f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'11' * 32}> /U <{'22' * 32}> >>"
)
"""For a trailer: no password that pdfium tries fits."""


def word(write: Callable[[Document], object]) -> bytes:
    """A DOCX file with what the function writes."""
    document = docx.Document()
    write(document)
    held = BytesIO()
    document.save(held)
    return held.getvalue()


def slides(*content: tuple[str, Sequence[str], Sequence[Sequence[str]], str]) -> bytes:
    """A PPTX file: of each slide the title, its lines, a table and the speaker's notes."""
    show = Presentation()
    for title, lines, rows, notes in content:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(lines)
        if rows:
            place = [Inches(number) for number in (1, 4, 6, 2)]
            table = slide.shapes.add_table(len(rows), len(rows[0]), *place).table
            for y, row in enumerate(rows):
                for x, cell in enumerate(row):
                    table.cell(y, x).text = cell
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    held = BytesIO()
    show.save(held)
    return held.getvalue()


def workbook(**sheets: Sequence[Sequence[object]]) -> bytes:
    """An XLSX file with these sheets."""
    held = BytesIO()
    book = xlsxwriter.Workbook(held, {"in_memory": True, "default_date_format": "yyyy-mm-dd"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    book.close()
    return held.getvalue()


def mail(subject: str, plain: str, html: str = "", attached: str = "") -> bytes:
    """An e-mail of one or two bodies."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x.org", "b@x.org", subject
    message.set_content(plain)
    if html:
        message.add_alternative(html, subtype="html")
    if attached:
        message.add_attachment(b"%PDF", "application", "pdf", filename=attached)
    return bytes(message)


def zipped(name: str = "a.txt", *, mebibytes: int = 1) -> bytes:
    """An archive with a file of that many MiB of spaces."""
    held = BytesIO()
    step = b" " * (1 << 20)
    with (
        ZipFile(held, "w", ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w") as member,
    ):
        for _ in range(mebibytes):
            member.write(step)
    return held.getvalue()


def repacked(data: bytes, changed: dict[str, bytes]) -> bytes:
    """An office file with some of its members replaced or added."""
    held = BytesIO()
    with ZipFile(BytesIO(data)) as old, ZipFile(held, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in changed:
                new.writestr(name, old.read(name))
        for name, content in changed.items():
            new.writestr(name, content)
    return held.getvalue()
