"""`tiffin costs`: what the answers cost, by day, tenant, key, tier, model, provider or policy."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import print_table
from tiffin.config.settings import load_settings
from tiffin.routing.storage import open_existing

COLUMNS = ("day", "tenant", "key", "tier", "model", "provider", "policy")
SHOWN = "day,tenant,key,tier"
NAMED = {"today": 0, "yesterday": 1}
JSON_FIELDS = (
    "answers",
    "attempts",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "usd",
    "strongest_usd",
)


@click.command()
@click.option(
    "--by", default=SHOWN, show_default=True, help=f"Group by these: {', '.join(COLUMNS)}."
)
@click.option("--since", help="Only from this UTC day on: 2026-01-31, 7d, today or yesterday.")
@click.option("--ledger", help="A file or an address; by default that of the settings.")
@json_option
def costs(*, by: str, since: str | None, ledger: str | None, as_json: bool) -> None:
    """Print attempts, tokens and US dollars, and what the strongest tier would have cost."""
    columns = [name.strip() for name in by.split(",")]
    if unknown := set(columns) - set(COLUMNS):
        message = f"--by: no column {', '.join(sorted(unknown))}; use: {', '.join(COLUMNS)}"
        raise click.UsageError(message)
    titles = ("answers", "attempts", "prompt", "cached", "completion", "USD", "strongest, USD")
    table = Table(*columns, *titles)
    rows = sums(ledger or load_settings().ledger_at(), columns, first_day(since))
    if as_json:
        fields = [*columns, *JSON_FIELDS]
        print_json([dict(zip(fields, row, strict=True)) for row in rows])
        return
    for row in rows:
        *names, answers, attempts, prompt, cached, completion, usd, strongest = row
        counts = (answers, attempts, prompt, cached, completion)
        table.add_row(*map(str, names), *map(str, counts), f"{usd:.6f}", f"{strongest:.6f}")
    print_table(table)


def first_day(since: str | None) -> str:
    """The day that `--since` means, as the ledger writes days; empty for all of them."""
    today = datetime.now(UTC).date()
    if since is None:
        return ""
    if days := re.fullmatch(r"(\d{1,5})d", since):
        return str(today - timedelta(days=int(days[1])))
    if since in NAMED:
        return str(today - timedelta(days=NAMED[since]))
    try:
        return str(date.fromisoformat(since))
    except ValueError:
        message = f"--since: {since!r} is no day; use 2026-01-31, 7d, today or yesterday"
        raise click.UsageError(message) from None


def sums(where: str | Path, columns: list[str], since: str) -> list[tuple[object, ...]]:
    """One row for each group: the columns, then answers, attempts, tokens and US dollars."""
    names = ", ".join(columns)  # each is one of COLUMNS
    statement = (
        f"SELECT {names}, SUM(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END), COUNT(*),"  # noqa: S608
        " SUM(prompt_tokens), SUM(cached_tokens), SUM(completion_tokens), SUM(usd),"
        f" SUM(strongest_usd) FROM attempts WHERE day >= ? GROUP BY {names} ORDER BY {names}"
    )
    storage = open_existing(where)
    try:
        return storage.read(statement, (since,))
    finally:
        storage.close()
