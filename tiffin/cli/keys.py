"""`tiffin keys`: create, list, change, rotate and revoke the API keys of the entry service."""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.times import Moment, Span
from tiffin.config.settings import SettingsError, load_settings
from tiffin.traffic.key_file import KeyFile
from tiffin.traffic.keys import Key, Purse

Command = TypeVar("Command", bound=Callable[..., Any])

PerMinute = click.IntRange(min=1)
Usd = click.FloatRange(min=0, min_open=True)

SECRETS = {"id", "salt", "digest", "previous"}
"""What `list` does not show of a key."""


@click.group()
@click.option(
    "--file", "path", type=click.Path(path_type=Path), help="By default that of the settings."
)
@click.pass_context
def keys(context: click.Context, path: Path | None) -> None:
    """Create, list, change, rotate and revoke API keys. A running server sees it at once."""
    context.obj = path


def _file(given: Path | None) -> KeyFile:
    """The file of `--file` or of the settings."""
    path = given or load_settings().access.keys_file
    if path is None:
        raise SettingsError("TIFFIN_ACCESS__KEYS_FILE is not set: it says where keys are stored")
    return KeyFile(path)


def _limits(command: Command) -> Command:
    """The options that limit a key; each is a field of `Key`."""
    several = "May be repeated; all of them if left out."
    for option in (
        click.option("--month-usd", type=Usd, help="US dollars in a UTC month."),
        click.option("--day-usd", type=Usd, help="US dollars in a UTC day."),
        click.option("--tier", "tiers", multiple=True, help=f"A tier that may answer. {several}"),
        click.option(
            "--model", "models", multiple=True, help=f"A name that may be asked for. {several}"
        ),
        click.option("--expires", type=Moment(), help="When it ends: 90d, 24h or 2027-01-31."),
        click.option("--tokens-per-minute", type=PerMinute, help="No limit if left out."),
        click.option("--requests-per-minute", type=PerMinute, help="No limit if left out."),
    ):
        command = option(command)
    return command


def _given(limits: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the fields of `Key`.

    The server may have other settings than these, so that an unknown tier is only pointed out.
    """
    if limits["tiers"]:
        settings = load_settings()
        known = [*settings.tiers, *settings.providers]
        for tier in limits["tiers"]:
            if tier not in known:
                there_are = f"there are: {', '.join(known)}"
                click.echo(f"--tier: no tier {tier!r} here; {there_are}", err=True)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in limits.items()}
    return {name: value for name, value in plain.items() if value not in (None, [])}


@keys.command()
@click.argument("name")
@click.option("--tenant", help="Whose data it sees; by default a tenant named like the key.")
@_limits
@json_option
@click.pass_obj
def create(
    path: Path | None,
    /,
    name: str,
    tenant: str | None,
    *,
    as_json: bool,
    **limits: Any,  # noqa: ANN401  the fields of Key
) -> None:
    """Create a key and print it, this once only."""
    _show(name, _file(path).create(name, tenant=tenant, **_given(limits)), as_json=as_json)


@keys.command()
@click.argument("name")
@click.option(
    "--overlap", type=Span(), default="24h", show_default=True, help="The old secret's time."
)
@json_option
@click.pass_obj
def rotate(path: Path | None, name: str, overlap: int, *, as_json: bool) -> None:
    """Give a key a new secret and print it; the old one is valid for a while longer."""
    _show(name, _file(path).rotate(name, overlap), as_json=as_json)


def _show(name: str, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "key": text})
        return
    click.echo(f"{name}: save this key, it is not shown again", err=True)
    click.echo(text)


@keys.command()
@click.argument("name")
@_limits
@click.option("--unlimited", "lifted", multiple=True, help="A limit to lift, such as expires.")
@json_option
@click.pass_obj
def change(
    path: Path | None,
    /,
    name: str,
    lifted: tuple[str, ...],
    *,
    as_json: bool,
    **limits: Any,  # noqa: ANN401  the fields of Key
) -> None:
    """Give a key other limits; those left out stay as they are."""
    fields = [lift.replace("-", "_") for lift in lifted]
    if unknown := set(fields) - set(limits):
        known = ", ".join(sorted(limits)).replace("_", "-")
        message = f"--unlimited: no limit {', '.join(sorted(unknown))}; there are: {known}"
        raise click.UsageError(message)
    changed = {**dict.fromkeys(fields), **_given(limits)}
    _file(path).change(name, **changed)
    if as_json:
        print_json({"changed": name, **changed})
    click.echo(f"{name}: changed", err=True)


@keys.command()
@click.argument("tenant")
@click.option("--day-usd", type=Usd, help="US dollars in a UTC day; no limit if left out.")
@click.option("--month-usd", type=Usd, help="US dollars in a UTC month; no limit if left out.")
@json_option
@click.pass_obj
def budget(
    path: Path | None,
    tenant: str,
    day_usd: float | None,
    month_usd: float | None,
    *,
    as_json: bool,
) -> None:
    """Say what all keys of a tenant together may spend."""
    _file(path).allow(tenant, Purse(day_usd=day_usd, month_usd=month_usd))
    if as_json:
        print_json({"tenant": tenant, "day_usd": day_usd, "month_usd": month_usd})
    click.echo(f"{tenant}: {_budget_text(day_usd, month_usd)}", err=True)


@keys.command("list")
@json_option
@click.pass_obj
def list_keys(path: Path | None, *, as_json: bool) -> None:
    """List the keys by name, without their secrets."""
    found = _file(path).all()
    if as_json:
        print_json([_row(key, found.tenants.get(key.tenant, Purse())) for key in found.keys])
        return
    for key in found.keys:
        click.echo(_line(key))
    for tenant, purse in found.tenants.items():
        click.echo(f"tenant {tenant}  {_budget_text(purse.day_usd, purse.month_usd)}")


def _row(key: Key, purse: Purse) -> dict[str, Any]:
    row = {name: getattr(key, name) for name in Key.__struct_fields__ if name not in SECRETS}
    return row | {"tenant_day_usd": purse.day_usd, "tenant_month_usd": purse.month_usd}


def _line(key: Key) -> str:
    parts = [
        f"{key.name}  tenant={key.tenant}  created={_day(key.created)}",
        f"requests/min={key.requests_per_minute or 'unlimited'}",
        f"tokens/min={key.tokens_per_minute or 'unlimited'}",
    ]
    if key.expires is not None:
        state = "expired" if key.expired(time.time()) else "expires"
        parts.append(f"{state}={_day(key.expires)}")
    for name, allowed in (("models", key.models), ("tiers", key.tiers)):
        if allowed is not None:
            parts.append(f"{name}={','.join(allowed)}")
    if key.day_usd is not None or key.month_usd is not None:
        parts.append(_budget_text(key.day_usd, key.month_usd))
    if key.previous is not None and key.previous.until > time.time():
        until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.previous.until))
        parts.append(f"its old secret opens until {until} UTC")
    return "  ".join(parts)


def _budget_text(day_usd: float | None, month_usd: float | None) -> str:
    day, month = (
        "unlimited" if usd is None else f"{Decimal(str(usd)).normalize():f}"
        for usd in (day_usd, month_usd)
    )
    return f"USD/day={day}  USD/month={month}"


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


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
