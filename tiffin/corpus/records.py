"""The records of files and corpora: whose they are, their names, states and expiry.

They are the source of truth: a chunk counts only if its file is `completed` here. `store.py` opens
them, `ingest.py` moves the states on. Methods block for about a millisecond, longer if the database
is on another machine, and may be called from any thread.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiffin.core.database import Page
from tiffin.corpus.entities import Attributes, Corpus, File, Member, Visible
from tiffin.corpus.table_records import TableRecords, grown

_GROWN_WITH = """
UPDATE corpora SET version = version + 1 WHERE id IN (SELECT corpus FROM members WHERE file = ?)
"""
_FILE = ", ".join(File.__dataclass_fields__)
_CORPUS = ", ".join(Corpus.__dataclass_fields__)
_MEMBER = ", ".join(Member.__dataclass_fields__)
"""The columns, which have the names of the fields."""

_FILES = f"SELECT {_FILE} FROM files"  # noqa: S608
_CORPORA = f"SELECT {_CORPUS} FROM corpora"  # noqa: S608
_MEMBERS = f"SELECT {_MEMBER} FROM members"  # noqa: S608
_ADD_FILE = f"INSERT INTO files ({_FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_ADD_CORPUS = f"INSERT INTO corpora ({_CORPUS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608

_QUEUE = f"""
INSERT OR REPLACE INTO members ({_MEMBER})
VALUES (?, ?, 'in_progress', NULL, NULL, ?, ?, 0, ?, ?)
"""  # noqa: S608
_WAITING = f"""
SELECT {", ".join(f"members.{name}" for name in Member.__dataclass_fields__)},
    {", ".join(f"files.{name}" for name in File.__dataclass_fields__)}
FROM members JOIN files ON files.id = members.file JOIN corpora ON corpora.id = members.corpus
WHERE state = 'in_progress' AND embedder = ? ORDER BY members.corpus, members.rowid LIMIT ?
"""  # noqa: S608
_COMPLETE = """
UPDATE members SET state = 'completed', chunks = ?
WHERE corpus = ? AND file = ? AND state = 'in_progress'
"""
_FAIL = """
UPDATE members SET state = 'failed', error_code = ?, error = ?
WHERE corpus = ? AND file = ? AND state = 'in_progress'
"""
_CANCEL = """
UPDATE members SET state = 'cancelled'
WHERE corpus = ? AND batch = ? AND state = 'in_progress'
"""


class Records(TableRecords):
    """The records. Raises sqlite3.Error for a file that is damaged or locked for too long.

    Raises Unavailable while a database on another machine is away.
    """

    # --- files

    def add_file(self, file: File) -> None:
        """Record a file whose bytes are stored."""
        values = (
            *(file.id, file.tenant, file.name, file.media_type, file.digest),
            *(file.bytes, file.purpose, file.created, file.expires),
        )
        self._write((_ADD_FILE, values))

    def file(self, tenant: str, id_: str) -> File | None:
        """A file of the tenant."""
        rows = self._read(f"{_FILES} WHERE id = ? AND tenant = ?", (id_, tenant))
        return File(*rows[0]) if rows else None

    def files(self, tenant: str, page: Page, purpose: str | None = None) -> list[File]:
        """The tenant's files, one page of them."""
        where, values = "tenant = ?", [tenant]
        if purpose is not None:
            where, values = f"{where} AND purpose = ?", [tenant, purpose]
        return [File(*row) for row in self._page("files", _FILE, where, values, page)]

    def expired_files(self) -> list[File]:
        """Files of all tenants whose time is over."""
        rows = self._read(f"{_FILES} WHERE expires <= ?", (int(time.time()),))
        return [File(*row) for row in rows]

    def corpora_of(self, file: str) -> list[str]:
        """The corpora that a file is in."""
        return [id_ for (id_,) in self._read("SELECT corpus FROM members WHERE file = ?", (file,))]

    def drop_file(self, file: File) -> bool:
        """Forget a file, also as a part of corpora; whether its bytes may go too."""
        self._write(
            (_GROWN_WITH, (file.id,)),
            ("DELETE FROM members WHERE file = ?", (file.id,)),
            ("DELETE FROM files WHERE id = ?", (file.id,)),
        )
        return not self._read("SELECT 1 FROM files WHERE digest = ? LIMIT 1", (file.digest,))

    # --- corpora

    def add_corpus(self, corpus: Corpus) -> None:
        """Record an empty corpus."""
        values = (
            *(corpus.id, corpus.tenant, corpus.name, corpus.description, corpus.embedder),
            *(json.dumps(corpus.metadata), corpus.created, corpus.active),
            *(corpus.expires_days, corpus.version, corpus.generation),
        )
        self._write((_ADD_CORPUS, values))

    def corpus(self, tenant: str, id_: str) -> Corpus | None:
        """A corpus of the tenant."""
        rows = self._read(f"{_CORPORA} WHERE id = ? AND tenant = ?", (id_, tenant))
        return _corpus(rows[0]) if rows else None

    def corpus_by_id(self, id_: str) -> Corpus | None:
        """A corpus of any tenant."""
        rows = self._read(f"{_CORPORA} WHERE id = ?", (id_,))
        return _corpus(rows[0]) if rows else None

    def named(self, tenant: str, name: str) -> list[Corpus]:
        """The tenant's corpora of this name; OpenAI's names need not be unique."""
        rows = self._read(f"{_CORPORA} WHERE name = ? AND tenant = ?", (name, tenant))
        return [_corpus(row) for row in rows]

    def corpora(self, tenant: str, page: Page) -> list[Corpus]:
        """The tenant's corpora, one page of them."""
        return [
            _corpus(row) for row in self._page("corpora", _CORPUS, "tenant = ?", [tenant], page)
        ]

    def all_corpora(self) -> list[Corpus]:
        """The corpora of all tenants."""
        return [_corpus(row) for row in self._read(_CORPORA)]

    def update_corpus(self, corpus: Corpus) -> None:
        """Store a corpus' name, metadata and expiry."""
        values = (corpus.name, json.dumps(corpus.metadata), corpus.expires_days, corpus.id)
        statement = "UPDATE corpora SET name = ?, metadata = ?, expires_days = ? WHERE id = ?"
        self._write((statement, values))

    def touch(self, corpus: str) -> None:
        """Note that a corpus was asked now."""
        self._write(("UPDATE corpora SET active = ? WHERE id = ?", (int(time.time()), corpus)))

    def drop_corpus(self, corpus: str) -> None:
        """Forget a corpus; its files stay."""
        self._write(
            ("DELETE FROM members WHERE corpus = ?", (corpus,)),
            ("DELETE FROM batches WHERE corpus = ?", (corpus,)),
            ("DELETE FROM upkeep WHERE corpus = ? OR corpus LIKE ?", (corpus, f"{corpus}-%")),
            ("DELETE FROM reembeddings WHERE corpus = ?", (corpus,)),
            ("DELETE FROM corpora WHERE id = ?", (corpus,)),
        )

    # --- files in corpora

    def add_members(self, members: Iterable[Member], batch: str | None = None) -> None:
        """Queue files for ingestion. One that is in the corpus already is ingested again."""
        now = int(time.time())
        statements: list[tuple[str, Sequence[Any]]] = []
        for one in members:
            values = (one.corpus, one.file, json.dumps(one.attributes), batch, one.bytes, now)
            statements.append((_QUEUE, values))
        if batch is not None:
            corpus = statements[0][1][0]
            statements.append(
                ("INSERT INTO batches (id, corpus, created) VALUES (?, ?, ?)", (batch, corpus, now))
            )
        self._write(*statements)

    def member(self, corpus: str, file: str) -> Member | None:
        """A file in a corpus."""
        rows = self._read(f"{_MEMBERS} WHERE corpus = ? AND file = ?", (corpus, file))
        return _member(rows[0]) if rows else None

    def members(
        self, corpus: str, page: Page, state: str | None = None, batch: str | None = None
    ) -> list[Member]:
        """The files of a corpus, one page of them."""
        where, values = "corpus = ?", [corpus]
        for column, value in (("state", state), ("batch", batch)):
            if value is not None:
                where, values = f"{where} AND {column} = ?", [*values, value]
        return [
            _member(row) for row in self._page("members", _MEMBER, where, values, page, key="file")
        ]

    def batch(self, corpus: str, id_: str) -> int | None:
        """When a batch of a corpus was created."""
        rows = self._read("SELECT created FROM batches WHERE id = ? AND corpus = ?", (id_, corpus))
        return rows[0][0] if rows else None

    def counts(self, corpus: str, batch: str | None = None) -> tuple[dict[str, int], int]:
        """How many files of a corpus (or of one batch) are in each state, and their bytes."""
        where, values = "corpus = ?", [corpus]
        if batch is not None:
            where, values = f"{where} AND batch = ?", [corpus, batch]
        rows = self._read(
            f"SELECT state, COUNT(*), SUM(bytes) FROM members WHERE {where} GROUP BY state",  # noqa: S608
            values,
        )
        return {state: count for state, count, _ in rows}, sum(int(size) for *_, size in rows)

    def visible(self, corpus: str) -> dict[str, Visible]:
        """Every file whose chunks may be found."""
        rows = self._read(
            "SELECT members.file, files.name, members.attributes, members.chunks FROM members"
            " JOIN files ON files.id = members.file WHERE corpus = ? AND state = 'completed'",
            (corpus,),
        )
        return {
            file: Visible(name, json.loads(attributes), chunks)
            for file, name, attributes, chunks in rows
        }

    def waiting(self, embedder: str, limit: int) -> list[tuple[Member, File]]:
        """Files to ingest into corpora of this embedder, those of one corpus after another."""
        rows = self._read(_WAITING, (embedder, limit))
        width = len(Member.__dataclass_fields__)
        return [(_member(row[:width]), File(*row[width:])) for row in rows]

    def totals(self) -> dict[str, int]:
        """How many files are in each state, over all corpora."""
        return dict(self._read("SELECT state, COUNT(*) FROM members GROUP BY state"))

    def complete(self, corpus: str, chunks: Mapping[str, int]) -> None:
        """Let the chunks of these files be found. A file that was removed meanwhile stays away."""
        self._write(
            *((_COMPLETE, (count, corpus, file)) for file, count in chunks.items()),
            grown(corpus),
        )

    def fail(self, corpus: str, file: str, code: str, why: str) -> None:
        """Note why a file could not be ingested."""
        self._write((_FAIL, (code, why, corpus, file)), grown(corpus))

    def cancel(self, corpus: str, batch: str) -> None:
        """Take what waits of a batch out of the queue."""
        self._write((_CANCEL, (corpus, batch)))

    def set_attributes(self, corpus: str, file: str, attributes: Attributes) -> None:
        """Replace the attributes of a file in a corpus."""
        self._write(
            (
                "UPDATE members SET attributes = ? WHERE corpus = ? AND file = ?",
                (json.dumps(dict(attributes)), corpus, file),
            ),
            grown(corpus),
        )

    def drop_member(self, corpus: str, file: str) -> None:
        """Take a file out of a corpus; from now on none of its chunks is found."""
        self._write(
            ("DELETE FROM members WHERE corpus = ? AND file = ?", (corpus, file)), grown(corpus)
        )


def _corpus(row: tuple[Any, ...]) -> Corpus:
    fields = dict(zip(Corpus.__dataclass_fields__, row, strict=True))
    return Corpus(**{**fields, "metadata": json.loads(fields["metadata"])})


def _member(row: tuple[Any, ...]) -> Member:
    fields = dict(zip(Member.__dataclass_fields__, row, strict=True))
    return Member(**{**fields, "attributes": json.loads(fields["attributes"])})
