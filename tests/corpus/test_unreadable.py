"""What cannot be read says so in a line that names the file and the remedy; the rest goes on."""

# Texts hold characters of many scripts.
# ruff: noqa: RUF001

import asyncio
import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pypdfium2 as pdfium
import pytest

from tests.support import documents
from tiffin.config.section import SettingsError
from tiffin.corpus.document import Unreadable
from tiffin.corpus.parse import MAX_BYTES, Parser, parse, parse_apart, parser_of
from tiffin.corpus.reading import read

WORD = documents.word(lambda document: document.add_paragraph("A text."))
BOOK = documents.workbook(Sheet=[["a", "b"], [1, 2]])
PDF = documents.pdf([[(50, 800, 11, "A text.")]])
OLE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512)
ENTITY = b'<!DOCTYPE d [<!ENTITY x SYSTEM "http://127.0.0.1:%d/x">]><d>&x;</d>'

BAD = {
    "broken.pdf": (PDF[:60], "broken PDF"),
    "locked.pdf": (
        documents.pdf([[(50, 800, 11, "x")]], encrypt=documents.PASSWORD_NEEDED),
        "password",
    ),
    "scan.pdf": (documents.scanned_pdf(), "no text on its pages (1); if it is a scan"),
    "named.pdf": (b"no pdf at all", "is no .pdf file"),
    "half.docx": (WORD[: len(WORD) // 2], "broken archive"),
    "macro.docm": (documents.repacked(WORD, {"word/vbaProject.bin": b"x"}), "macros"),
    "macro.xlsx": (documents.repacked(BOOK, {"xl/vbaProject.bin": b"x"}), "macros"),
    "entity.docx": (documents.repacked(WORD, {"word/document.xml": ENTITY}), "XML entities"),
    "old.doc": (OLE, "Office 97"),
    "locked.xlsx": (OLE + "EncryptedPackage".encode("utf-16-le"), "password"),
    "files.zip": (documents.zipped(), "is an archive"),
    "photo.png": (b"\x89PNG\r\n\x1a\n", "is an image"),
    "noise.txt": (random.Random(1).randbytes(4000), "is no text"),  # noqa: S311  no secret
    "empty.txt": (b" \n ", "is empty"),
    "empty.html": (b"<html><body><script>x()</script>", "holds no text"),
    "deep.json": (b"[" * 100_000, "no JSON (RecursionError)"),
    "lines.jsonl": (b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
    "song.mp3": (b"ID3", "audio/mpeg is not read"),
    "big.txt": (b"x" * (MAX_BYTES + 1), "64 are the most"),
}


def scan(text: str) -> bytes:
    """A PDF of an image of a page that says this."""
    with pdfium.PdfDocument(documents.pdf([[(50, 700, 24, text)]])) as document:
        pixels = document[0].render(scale=2, grayscale=True).to_numpy()
    return documents.scanned_pdf(pixels.tobytes(), pixels.shape[1])


def test_scans_are_not_read_without_tesseract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SettingsError, match="TIFFIN_OCR: there is no tesseract; install"):
        parser_of("eng")


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Debian's tesseract-ocr is missing")
async def test_a_scan_is_read_by_tesseract_if_the_operator_says_so() -> None:
    async with parser_of("eng") as parser:
        parsed = await parser.parse(scan("Unused tickets are refunded"), "scan.pdf")
    assert parsed.text == "Unused tickets are refunded"
    assert parsed.parts[0].page == 1
    async with parser_of("xyz") as parser:
        with pytest.raises(Unreadable, match=r"scan.pdf: tesseract failed \(.*xyz"):
            await parser.parse(scan("Unused"), "scan.pdf")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_name_and_what_to_do(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(Unreadable) as refused:
        read_or_limit(data, name)
    message = str(refused.value)
    assert message.startswith(f"{name}: ")
    assert reason in message
    assert "\n" not in message
    assert "; " in message, "no remedy"


def test_an_archive_that_unpacks_to_more_than_it_may_is_not_opened() -> None:
    with pytest.raises(Unreadable, match=r"^bomb.docx: unpacks to 320 MiB in 1 files, .*split it$"):
        read(documents.zipped("word/document.xml", mebibytes=320), "bomb.docx")


def read_or_limit(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES or not data.strip():
        parse(data, name)
    else:
        read(data, name, "audio/mpeg" if name.endswith("mp3") else None)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8-sig", "Ein schöner Tag für Größe."),
        ("utf-16", "Ein schöner Tag für Größe."),
        ("utf-16-le", "Ein schöner Tag für Größe. Das Café ist offen."),
        ("cp1252", "Das Café in der Straße öffnet – wie üblich – um “neun” Uhr. " * 4),
        ("cp1251", "Мост был открыт в 1931 году, и с тех пор он стоит над рекой. " * 4),
        ("shift_jis", "この橋は千九百三十一年に開通した。それ以来、川の上に立っている。" * 4),
        ("gb18030", "这座桥于一九三一年开通。从那时起，它一直矗立在河上。" * 4),
    ],
)
def test_a_text_is_read_in_the_encoding_that_it_has(encoding: str, text: str) -> None:
    assert read(text.encode(encoding), "x.txt").text == text.strip()


def test_a_page_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<meta http-equiv="content-type" content="text/html; charset=koi8-r"><p>Мост'
    assert read(page.encode("koi8-r"), "x.html").text == "Мост"
    assert read("<p>Größe".encode("cp1252"), "x", "text/html; charset=cp1252").text == "Größe"


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port on this machine, and who called it."""
    called: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def wait() -> None:
            try:
                called.append(str(server.accept()[1]))
            except OSError:
                return

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield server.getsockname()[1], called


def test_no_link_in_a_document_is_followed() -> None:
    with listening() as (port, called):
        url = f"http://127.0.0.1:{port}/x"
        page = f'<link rel=stylesheet href={url}><img src="{url}" alt=pic><iframe src="{url}">'
        assert read(page.encode(), "x.html").text == "pic"
        assert read(f"![pic]({url})".encode(), "x.md").text == "pic"
        relation = (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
            f'relationships/attachedTemplate" Target="{url}" TargetMode="External"/>'
            "</Relationships>"
        )
        linked = documents.repacked(WORD, {"word/_rels/settings.xml.rels": relation.encode()})
        assert read(linked, "x.docx").text == "A text."
        assert not called


async def test_a_document_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    slow = b"<p>" + b"<b>x" * 6_000_000
    async with Parser(seconds=1.0) as parser:
        start = time.monotonic()
        with pytest.raises(Unreadable, match=r"slow.html: not read after 1 s; split it"):
            await parser.parse(slow, "slow.html")
        assert time.monotonic() - start < 15
        parser.seconds = 30.0
        assert (await parser.parse(b"fine", "fine.txt")).text == "fine"


async def test_a_document_that_needs_too_much_memory_is_given_up() -> None:
    async with Parser(memory=300 << 20) as parser:
        with pytest.raises(Unreadable, match=r"needs? more than 300 MiB|needed more than 300 MiB"):
            await parser.parse(b"[" + b"[1]," * 12_000_000 + b"1]", "big.json")
        assert (await parser.parse(b"fine", "fine.txt")).text == "fine"


async def test_a_cancelled_document_leaves_no_process() -> None:
    parser = Parser()
    task = asyncio.create_task(parser.parse(b"<b>x" * 6_000_000, "slow.html"))
    while parser._child is None:  # noqa: SLF001
        await asyncio.sleep(0.01)
    child = parser._child.pid  # noqa: SLF001
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


async def test_who_is_cancelled_while_a_parser_ends_leaves_no_process_either() -> None:
    parser = Parser()
    await parser.parse(b"fine", "fine.txt")
    child = parser._child  # noqa: SLF001
    assert child is not None
    ending = asyncio.create_task(parser.close())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert child.returncode is not None


async def test_the_child_has_none_of_our_secrets_and_answers_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIFFIN_SECRET", "hush")
    async with Parser() as parser:
        for number in range(3):
            assert (await parser.parse(f"text {number}".encode(), "x.md")).text == f"text {number}"
        assert parser._child is not None  # noqa: SLF001
        with open(f"/proc/{parser._child.pid}/environ", "rb") as environment:  # noqa: PTH123, SLF001, ASYNC230
            assert b"hush" not in environment.read()


async def test_one_document_alone_is_read_in_a_process_of_its_own() -> None:
    assert (await parse_apart(PDF, "x.pdf")).parts[0].page == 1
    assert parse(PDF, "x.pdf").media_type == "application/pdf"
    with pytest.raises(Unreadable, match="broken PDF"):
        await parse_apart(PDF[:60], "x.pdf")
