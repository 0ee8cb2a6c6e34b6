"""`tiffin keys`: create, list and revoke the API keys of the entry service."""

import time
from pathlib import Path

import click

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
    path = path or load_settings().access.keys_file
    if path is None:
        raise SettingsError("TIFFIN_ACCESS__KEYS_FILE is not set: it says where keys are stored")
    context.obj = KeyFile(path)


@keys.command()
@click.argument("name")
@click.option("--tenant", help="Whose data it sees; by default a tenant named like the key.")
@click.option("--requests-per-minute", type=PerMinute, help="No limit if left out.")
@click.option("--tokens-per-minute", type=PerMinute, help="No limit if left out.")
@click.pass_obj
def create(
    file: KeyFile,
    name: str,
    tenant: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
) -> None:
    """Create a key and print it, this once only."""
    text = file.create(
        name,
        tenant=tenant,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    click.echo(f"{name}: save this key, it is not shown again", err=True)
    click.echo(text)


@keys.command("list")
@click.pass_obj
def list_keys(file: KeyFile) -> None:
    """List the keys by name, without their secrets."""
    for key in file.read():
        created = time.strftime("%Y-%m-%d", time.gmtime(key.created))
        click.echo(
            f"{key.name}  tenant={key.tenant}  created={created}"
            f"  requests/min={key.requests_per_minute or 'unlimited'}"
            f"  tokens/min={key.tokens_per_minute or 'unlimited'}"
        )


@keys.command()
@click.argument("name")
@click.pass_obj
def revoke(file: KeyFile, name: str) -> None:
    """Revoke a key."""
    file.revoke(name)
    click.echo(f"{name}: revoked", err=True)
