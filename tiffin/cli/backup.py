"""`tiffin backup`: everything that a Tiffin has stored, in one file, while it serves."""

import shutil
from pathlib import Path

import click
from filelock import FileLock, Timeout

from models.user_catalog import FILE as CATALOG
from tiffin.cli.archive import write
from tiffin.cli.as_json import json_option, print_json
from tiffin.config.settings import Settings, load_settings
from tiffin.core.postgres import POSTGRES
from tiffin.corpus.copying import RECORDS, copy_corpora, copy_sqlite

STAGED = ".backup"
"""A folder in that of corpora, so that hard links can be made."""

SHARED = "corpora, because replicas share them in PostgreSQL: use pg_dump, then copy the bucket"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(file: Path, *, as_json: bool) -> None:
    """Copy corpora, files, ledger, keys and the catalogue of your own models into FILE, a tar.

    A server may go on serving and ingesting. Weights and kept answers are not part of it.
    """
    settings = load_settings()
    corpora = settings.corpora_at()
    corpora.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(corpora / f"{STAGED}.lock").acquire(blocking=False):
            shutil.rmtree(corpora / STAGED, ignore_errors=True)  # of one that was killed
            try:
                parts, left_out = stage(settings, corpora / STAGED)
                manifest = write(corpora / STAGED, file)
            finally:
                shutil.rmtree(corpora / STAGED, ignore_errors=True)
    except Timeout:
        raise click.ClickException("another backup is running; wait for it to end") from None
    if as_json:
        told = {"file": file, "bytes": file.stat().st_size, "parts": parts, "left_out": left_out}
        print_json(told | {"created": manifest.created})
        return
    click.echo(f"{file}: {', '.join(parts) or 'nothing was stored yet'}", err=True)
    for line in left_out:
        click.echo(f"not in it: {line}", err=True)


def stage(settings: Settings, folder: Path) -> tuple[list[str], list[str]]:
    """Copy each part that is there into a new folder; their names, and what is not there and why.

    Raises OSError and sqlite3.Error.
    """
    folder.mkdir(mode=0o700)
    left_out: list[str] = []
    if settings.corpora_database is not None:
        left_out.append(SHARED)
    elif (settings.corpora_at() / RECORDS).exists():
        (folder / "corpora").mkdir()
        copy_corpora(settings.corpora_at(), folder / "corpora")
    ledger = settings.ledger_at()
    if ledger.startswith(POSTGRES):
        left_out.append("the ledger, because it is in PostgreSQL: use pg_dump")
    elif Path(ledger).exists():
        copy_sqlite(Path(ledger), folder / "ledger.sqlite3")
    if (keys := settings.access.keys_file) and keys.expanduser().exists():
        shutil.copyfile(keys.expanduser(), folder / "keys.json")
    catalog = settings.home.expanduser() / CATALOG
    if catalog.exists():
        shutil.copyfile(catalog, folder / CATALOG)
    return sorted(path.name for path in folder.iterdir()), left_out
