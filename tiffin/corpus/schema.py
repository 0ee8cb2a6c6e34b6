"""The tables of corpora, in SQL of SQLite and PostgreSQL. `records.py` reads and writes them."""

from pathlib import Path

from tiffin.core.database import Executes, SqliteFile

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, media_type TEXT,
    digest TEXT NOT NULL, bytes INTEGER NOT NULL, purpose TEXT NOT NULL,
    created INTEGER NOT NULL, expires INTEGER
);
CREATE INDEX IF NOT EXISTS files_by_digest ON files (digest);
CREATE TABLE IF NOT EXISTS corpora (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
    embedder TEXT NOT NULL, metadata TEXT NOT NULL, created INTEGER NOT NULL,
    active INTEGER NOT NULL, expires_days INTEGER, version INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS members (
    corpus TEXT NOT NULL, file TEXT NOT NULL, state TEXT NOT NULL, error_code TEXT, error TEXT,
    attributes TEXT NOT NULL, batch TEXT, chunks INTEGER NOT NULL, bytes INTEGER NOT NULL,
    created INTEGER NOT NULL, PRIMARY KEY (corpus, file)
);
CREATE INDEX IF NOT EXISTS members_by_state ON members (state);
CREATE INDEX IF NOT EXISTS members_by_file ON members (file);
CREATE TABLE IF NOT EXISTS upkeep (
    corpus TEXT PRIMARY KEY, compacted INTEGER, probes INTEGER, recall REAL
);
CREATE TABLE IF NOT EXISTS reembeddings (
    corpus TEXT PRIMARY KEY, embedder TEXT NOT NULL, generation INTEGER NOT NULL,
    asked INTEGER NOT NULL, done INTEGER
);
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, corpus TEXT NOT NULL, created INTEGER NOT NULL
);
"""


def records_file(path: Path) -> SqliteFile:
    """The file with these tables. Raises sqlite3.Error if it is damaged or locked for too long."""
    return SqliteFile(path, SCHEMA, _upgrade)


def _upgrade(db: Executes) -> None:
    """Add what layout 1 did not have."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(corpora)")}
    if "generation" not in columns:
        db.execute("ALTER TABLE corpora ADD COLUMN generation INTEGER NOT NULL DEFAULT 0")
