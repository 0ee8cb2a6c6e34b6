"""A consistent copy of all corpora while servers write to them. Called by `tiffin backup`.

The records are copied first, because a chunk counts only if they say so: what is ingested meanwhile
is in the copied tables, and not found. LanceDB never changes a file that it has written, so that a
hard link is a copy that takes no time and no space; a table's versions are linked before the data
that they name. What was removed meanwhile is taken out of the copied records, and what was changed
is marked to be ingested again. So is everything if the tables are on object storage, because no
link can be made there.
"""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from msgspec.structs import replace

from tiffin.corpus.entities import Corpus
from tiffin.corpus.layout import read_layout, write_layout

RECORDS = "records.sqlite3"
LAYOUT = "layout.json"
VERSIONS = "_versions"
HINT = "latest_version_hint.json"
"""Names the newest version, and is written over; without it LanceDB looks."""

_COMPLETED = "SELECT corpus, file FROM members WHERE state = 'completed'"


def copy_sqlite(source: Path, into: Path) -> None:
    """Copy a database that others may be writing to. Raises sqlite3.Error if it is damaged."""
    with closing(_reading(source)) as live, closing(sqlite3.connect(into)) as copy:
        live.backup(copy)


def copy_corpora(folder: Path, into: Path) -> None:
    """Copy the folder of corpora into an empty one, by hard links if both are on one file system.

    Raises OSError and sqlite3.Error.
    """
    copy_sqlite(folder / RECORDS, into / RECORDS)
    layout = read_layout(folder / LAYOUT)
    write_layout(into / LAYOUT, replace(layout, tables=None))
    (into / "files").mkdir()
    (into / "chunks").mkdir()
    with (
        closing(sqlite3.connect(into / RECORDS)) as copied,
        closing(_reading(folder / RECORDS)) as live,
    ):
        for table in _tables(copied):
            _link_table(folder / "chunks" / f"{table}.lance", into / "chunks" / f"{table}.lance")
        if layout.tables is not None:
            copied.execute("UPDATE members SET state = 'in_progress' WHERE state = 'completed'")
        for file, digest in copied.execute("SELECT id, digest FROM files").fetchall():
            if not _link(folder / "files" / digest, into / "files" / digest):
                copied.execute("DELETE FROM files WHERE id = ?", (file,))
        _mend(copied, live)
        copied.commit()


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _tables(copied: sqlite3.Connection) -> list[str]:
    """The tables that are searched. One that is being filled anew is begun anew after a restore."""
    rows = copied.execute("SELECT * FROM corpora").fetchall()  # the last column is new in layout 2
    return [Corpus(*row).table for row in rows]


def _mend(copied: sqlite3.Connection, live: sqlite3.Connection) -> None:
    """Make the copied records agree with what was removed or changed while the rest was copied."""
    present = {corpus for (corpus,) in live.execute("SELECT id FROM corpora")}
    for (corpus,) in copied.execute("SELECT id FROM corpora").fetchall():
        if corpus not in present:
            copied.execute("DELETE FROM corpora WHERE id = ?", (corpus,))
    copied.execute("DELETE FROM batches WHERE corpus NOT IN (SELECT id FROM corpora)")
    copied.execute(
        "DELETE FROM members WHERE corpus NOT IN (SELECT id FROM corpora)"
        " OR file NOT IN (SELECT id FROM files)"
    )
    changed = set(copied.execute(_COMPLETED)) - set(live.execute(_COMPLETED))
    copied.executemany(
        "UPDATE members SET state = 'in_progress' WHERE corpus = ? AND file = ?", changed
    )


def _link_table(source: Path, into: Path) -> None:
    """Link what is there of a table, its versions first; an empty corpus has no table."""
    found = [Path(where) / name for where, _, names in os.walk(source) for name in names]
    found = [path for path in found if path.name != HINT]
    for path in sorted(found, key=lambda path: path.parent.name != VERSIONS):
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(path, target)


def _link(source: Path, into: Path) -> bool:
    """Whether the file was still there."""
    with suppress(FileExistsError):
        try:
            os.link(source, into)
        except FileNotFoundError:
            return False
        except OSError:  # another file system, or one without hard links
            try:
                shutil.copyfile(source, into)
            except FileNotFoundError:
                return False
    return True
