"""`tiffin restore`: what `tiffin backup` wrote, into a Tiffin that has stored nothing yet."""

import shutil
import tempfile
from pathlib import Path

import click

from models.user_catalog import FILE as CATALOG
from tiffin.cli.archive import unpack
from tiffin.cli.as_json import json_option, print_json
from tiffin.config.settings import Settings, load_settings
from tiffin.core.postgres import POSTGRES
from tiffin.corpus.copying import RECORDS


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def restore(file: Path, *, as_json: bool) -> None:
    """Put the parts of FILE where the settings say that they are stored.

    Nothing is written over: what is there already must be moved away first. Stop the server before.
    """
    settings = load_settings()
    home = settings.home.expanduser()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as name:
        folder = Path(name)
        manifest = unpack(file, folder)
        parts = sorted(path.name for path in folder.iterdir())
        places = {part: _place(part, settings) for part in parts}
        for part, place in places.items():
            _check_free(part, place)
        for part, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / part, place)
    if as_json:
        print_json({"version": manifest.version, "created": manifest.created, "restored": places})
        return
    for part, place in places.items():
        click.echo(f"{part}: {place}", err=True)


def _place(part: str, settings: Settings) -> Path:
    """Where a part belongs. Raises ClickException if the settings have no place for it."""
    if part == "corpora":
        if settings.corpora_database is not None:
            message = "the corpora of the backup are a folder, and TIFFIN_CORPORA is a database"
            raise click.ClickException(f"{message}: restore it without that setting")
        return settings.corpora_at()
    if part == CATALOG:
        return settings.home.expanduser() / CATALOG
    if part == "ledger.sqlite3":
        if (ledger := settings.ledger_at()).startswith(POSTGRES):
            message = "the ledger of the backup is a file, and TIFFIN_ROUTING__LEDGER a database"
            raise click.ClickException(f"{message}: restore it without that setting")
        return Path(ledger)
    if part == "keys.json":
        if settings.access.keys_file is None:
            message = "the backup has keys: set TIFFIN_ACCESS__KEYS_FILE to where they belong"
            raise click.ClickException(message)
        return settings.access.keys_file.expanduser()
    raise click.ClickException(f"the backup has {part!r}, which this Tiffin does not know")


def _check_free(part: str, place: Path) -> None:
    """Refuse to write over anything. A folder in which no corpus was ever stored makes way."""
    empty = part == "corpora" and place.is_dir() and not (place / RECORDS).exists()
    if empty and not any(path.is_file() and path.stat().st_size for path in place.rglob("*")):
        shutil.rmtree(place)
    if place.exists():
        raise click.ClickException(f"{place} is there already: move it away, then restore again")
