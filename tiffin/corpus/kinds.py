"""Which format a document has: by its first bytes, then its name, then the type that was sent."""

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from tiffin.corpus.document import Unreadable
from tiffin.corpus.formats.archive import OLE, members
from tiffin.corpus.outline import Outline

Reader = Callable[[bytes, str, str | None, Outline], None]

_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = _OFFICE + "wordprocessingml.document"
PPTX = _OFFICE + "presentationml.presentation"
XLSX = _OFFICE + "spreadsheetml.sheet"
TEXT = "text/plain"
CODE = "text/x-code"

_READERS = {
    TEXT: ("plain", "read_text"),
    CODE: ("plain", "read_code"),
    "text/markdown": ("markdown", "read_markdown"),
    "text/html": ("html", "read_html"),
    "text/csv": ("records", "read_csv"),
    "text/tab-separated-values": ("records", "read_csv"),
    "application/jsonl": ("records", "read_json_lines"),
    "application/json": ("records", "read_json"),
    "message/rfc822": ("mail", "read_mail"),
    "application/pdf": ("pdf", "read_pdf"),
    DOCX: ("office", "read_docx"),
    PPTX: ("office", "read_pptx"),
    XLSX: ("office", "read_xlsx"),
}
_NAMES = {
    ".csv": "text/csv",
    ".docm": DOCX,
    ".docx": DOCX,
    ".eml": "message/rfc822",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".ndjson": "application/jsonl",
    ".pdf": "application/pdf",
    ".pptm": PPTX,
    ".pptx": PPTX,
    ".tsv": "text/tab-separated-values",
    ".xhtml": "text/html",
    ".xlsm": XLSX,
    ".xlsx": XLSX,
} | dict.fromkeys((".log", ".rst", ".text", ".txt"), TEXT)
_CODE_NAMES = (
    ".c .cc .conf .cpp .cs .css .go .h .hpp .ini .java .js .kt .php .ps1 .py .r .rb .rs .sh .sql "
    ".swift .tex .toml .ts .tsx .xml .yaml .yml"
)
_NAMES |= dict.fromkeys(_CODE_NAMES.split(), CODE)
_SYNONYMS = {
    "application/x-ndjson": "application/jsonl",
    "application/xhtml+xml": "text/html",
    "text/x-markdown": "text/markdown",
}
_IN_ARCHIVE = {"word/": DOCX, "ppt/": PPTX, "xl/": XLSX}
_SIGNATURES = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"II*\0", "an image"),
    (b"MM\0*", "an image"),
    (b"\x1f\x8b", "a compressed file"),
    (b"BZh", "a compressed file"),
    (b"\xfd7zXZ", "a compressed file"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"{\\rtf", "RTF"),
)
_REMEDIES = {
    "an image": "read its text by OCR first",
    "a compressed file": "unpack it first",
    "an archive": "add the documents in it",
    "a program": "add documents",
    "RTF": "save it as .docx",
}
FORMATS = "text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV, JSON, JSON lines and e-mail"
_BEFORE_A_PDF = 1024
"""Bytes that may stand before the mark of a PDF."""


def kind_of(data: bytes, name: str, media_type: str | None) -> str:
    """The media type that the document is read as. Raises Unreadable if no format fits."""
    said = (media_type or "").partition(";")[0].strip().lower()
    said = _SYNONYMS.get(said, said)
    suffix = PurePath(name).suffix.lower()
    named = _NAMES.get(suffix) or (said if said in _READERS else "")
    if b"%PDF-" in data[:_BEFORE_A_PDF] and named in {"", TEXT, "application/pdf"}:
        return "application/pdf"
    if data.startswith(OLE):
        return DOCX  # whose reader says what is the matter
    if data.startswith(b"PK"):
        return _of_archive(data, name)
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            raise Unreadable(f"{name}: is {what}; {_REMEDIES[what]}")
    if named in {DOCX, PPTX, XLSX, "application/pdf"}:
        raise Unreadable(f"{name}: is no {suffix or named} file inside; save it again")
    if named:
        return named
    if said.startswith("text/") or said in {"", "application/octet-stream"}:
        return TEXT
    raise Unreadable(f"{name}: {said} is not read; add {FORMATS}")


def _of_archive(data: bytes, name: str) -> str:
    held = members(data)
    for folder, kind in _IN_ARCHIVE.items():
        if any(member.startswith(folder) for member in held):
            return kind
    if not held:
        raise Unreadable(f"{name}: a broken archive; save the file again")
    if "mimetype" in held:
        raise Unreadable(f"{name}: OpenDocument is not read; save it as .docx, .pptx or .xlsx")
    raise Unreadable(f"{name}: is an archive; {_REMEDIES['an archive']}")


def charset_of(media_type: str | None) -> str | None:
    """The charset that was sent with the media type."""
    _, found, value = (media_type or "").lower().partition("charset=")
    return value.split(";")[0].strip(" \"'") or None if found else None


def reader_of(kind: str) -> Reader:
    """The reader of a media type; its library is imported now."""
    module, function = _READERS[kind]
    reader: Reader = getattr(import_module(f"tiffin.corpus.formats.{module}"), function)
    return reader
