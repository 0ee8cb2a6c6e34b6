"""What is looked at in an office file before a library opens it: size, macros, XML entities."""

import zlib
from collections.abc import Iterator
from io import BytesIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from tiffin.corpus.document import Unreadable

MAX_UNPACKED = 256 << 20
MAX_MEMBERS = 10_000
_STEP = 1 << 20
_DECLARATIONS = tuple(
    word.encode(encoding)
    for word in ("<!DOCTYPE", "<!ENTITY")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be")
)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How files of Office 97 begin, and those of today that have a password."""
_WITH_A_PASSWORD = "EncryptedPackage".encode("utf-16-le")


def check(data: bytes, name: str) -> None:
    """Raises Unreadable for an archive that no library should open."""
    if data.startswith(OLE):
        raise Unreadable(
            f"{name}: needs a password; save it without one"
            if _WITH_A_PASSWORD in data
            else f"{name}: the format of Office 97; save it as .docx, .pptx or .xlsx"
        )
    try:
        with ZipFile(BytesIO(data)) as archive:
            _check(archive, name)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise Unreadable(f"{name}: a broken archive ({error}); save the file again") from error


def members(data: bytes) -> frozenset[str]:
    """The names in the archive; none if it is broken."""
    try:
        with ZipFile(BytesIO(data)) as archive:
            return frozenset(archive.namelist())
    except (BadZipFile, NotImplementedError):
        return frozenset()


def _check(archive: ZipFile, name: str) -> None:
    infos = archive.infolist()
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED or len(infos) > MAX_MEMBERS:
        raise Unreadable(
            f"{name}: unpacks to {unpacked >> 20} MiB in {len(infos)} files, and "
            f"{MAX_UNPACKED >> 20} MiB in {MAX_MEMBERS} are the most; split it"
        )
    if any(info.filename.lower().endswith("vbaproject.bin") for info in infos):
        raise Unreadable(f"{name}: holds macros, which nothing here runs; save it without them")
    for info in infos:
        if info.filename.lower().endswith((".xml", ".rels", ".vml")):
            _check_xml(archive, info, name)


def _check_xml(archive: ZipFile, info: ZipInfo, name: str) -> None:
    """Office writes no document type. The whole member is read: the declared size may be a lie."""
    tail = b""
    for step in _steps(archive, info):
        held = tail + step
        if any(word in held for word in _DECLARATIONS):
            raise Unreadable(f"{name}: declares XML entities in {info.filename}; save it again")
        tail = held[-32:]


def _steps(archive: ZipFile, info: ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as member:
        while step := member.read(_STEP):
            yield step
