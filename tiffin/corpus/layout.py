"""What wrote a folder of corpora, and where its tables are: `layout.json`. `place.py` opens it.

An older LanceDB corrupts the indexes of a newer one without a word, so a folder that a newer Tiffin
or LanceDB wrote is refused. Tables on object storage are below the address of the settings, in a
folder with a name of this store's own: two stores that were given the same address would otherwise
delete each other's tables as unneeded.
"""

import secrets
from importlib.metadata import version as version_of
from pathlib import Path

import msgspec

from tiffin.config.section import SettingsError

LAYOUT = 2
"""Incremented when an older Tiffin would misread what a newer one writes."""


class Layout(msgspec.Struct, frozen=True):
    """The file. `tables` is where the tables are; None: in the folder itself."""

    layout: int
    lancedb: str
    tables: str | None = None


def read_layout(path: Path) -> Layout:
    """What the file says."""
    return msgspec.json.decode(path.read_bytes(), type=Layout)


def write_layout(path: Path, layout: Layout) -> None:
    """Write the file whole, or leave it as it was."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(layout))
    part.replace(path)


def opened(folder: Path, address: str | None) -> str:
    """Where the tables of this folder are; a new folder is stamped, and an older one.

    `address` is the setting. Raises SettingsError for what a newer Tiffin or LanceDB wrote, and if
    there are tables elsewhere.
    """
    path, local = folder / "layout.json", folder / "chunks"
    theirs = read_layout(path) if path.exists() else None
    tables = None if theirs is None else theirs.tables
    if theirs is not None:
        check_age(folder, theirs)
        has_tables = tables is not None or any(local.glob("*.lance"))
        if has_tables and address != (tables and tables.rpartition("/")[0]):
            where = "unset TIFFIN_CHUNKS"
            if tables is not None:
                where = f"set TIFFIN_CHUNKS={tables.rpartition('/')[0]}"
            message = f"chunks: the tables of {folder} are in {tables or local}, and stay there"
            raise SettingsError(f"{message}: {where}, or TIFFIN_CORPORA to another folder")
    if address is not None and tables is None:
        tables = f"{address}/{secrets.token_hex(8)}"
    ours = Layout(LAYOUT, version_of("lancedb"), tables)
    if theirs != ours:
        write_layout(path, ours)
    return tables or str(local)


def check_age(where: Path | str, theirs: Layout) -> None:
    """Raise SettingsError for what a newer Tiffin or LanceDB wrote."""
    lancedb = version_of("lancedb")
    if theirs.layout > LAYOUT or _numbers(theirs.lancedb) > _numbers(lancedb):
        message = (
            f"corpora: {where} was written by layout {theirs.layout} with LanceDB"
            f" {theirs.lancedb}, newer than {LAYOUT} and {lancedb} here: install a"
            " newer Tiffin, or set TIFFIN_CORPORA to another place"
        )
        raise SettingsError(message)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
