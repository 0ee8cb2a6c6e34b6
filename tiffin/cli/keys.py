"""`tiffin keys`: create, list and revoke the API keys of the entry service."""

import time
from pathlib import Path

import click

from tiffin.cli.as_json import json_option, print_json
from tiffin.config.settings import SettingsError, load_settings
from tiffin.traffic.keys import KeyFile

PerMinute = click.IntRange(min=1)


@click.group()
@click.option(
    "--file", "path", type=click.Path(path_type=Path), help="By default that of the settings."
)
@click.pass_context
def keys(context: click.Context, path: Path | None) -> None:
    """Create, list and revoke API keys. A running server sees the change at once."""
    context.obj = path


def _file(given: Path | None) -> KeyFile:
    """The file of `--file` or of the settings."""
    path = given or load_settings().access.keys_file
    if path is None:
        raise SettingsError("TIFFIN_ACCESS__KEYS_FILE is not set: it says where keys are stored")
    return KeyFile(path)


@keys.command()
@click.argument("name")
@click.option("--tenant", help="Whose data it sees; by default a tenant named like the key.")
@click.option("--requests-per-minute", type=PerMinute, help="No limit if left out.")
@click.option("--tokens-per-minute", type=PerMinute, help="No limit if left out.")
@json_option
@click.pass_obj
def create(
    path: Path | None,
    name: str,
    tenant: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    *,
    as_json: bool,
) -> None:
    """Create a key and print it, this once only."""
    text = _file(path).create(
        name,
        tenant=tenant,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    if as_json:
        print_json({"name": name, "key": text})
        return
    click.echo(f"{name}: save this key, it is not shown again", err=True)
    click.echo(text)


@keys.command("list")
@json_option
@click.pass_obj
def list_keys(path: Path | None, *, as_json: bool) -> None:
    """List the keys by name, without their secrets."""
    if as_json:
        names = ("name", "tenant", "created", "requests_per_minute", "tokens_per_minute")
        rows = [{name: getattr(key, name) for name in names} for key in _file(path).read()]
        print_json(rows)
        return
    for key in _file(path).read():
        created = time.strftime("%Y-%m-%d", time.gmtime(key.created))
        click.echo(
            f"{key.name}  tenant={key.tenant}  created={created}"
            f"  requests/min={key.requests_per_minute or 'unlimited'}"
            f"  tokens/min={key.tokens_per_minute or 'unlimited'}"
        )


@keys.command()
@click.argument("name")
@json_option
@click.pass_obj
def revoke(path: Path | None, name: str, *, as_json: bool) -> None:
    """Revoke a key."""
    _file(path).revoke(name)
    if as_json:
        print_json({"revoked": name})
    click.echo(f"{name}: revoked", err=True)
