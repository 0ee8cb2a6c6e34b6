"""`tiffin prune`: forget what the ledger has of days long ago."""

import datetime as dt

import click

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.times import Span
from tiffin.config.settings import load_settings
from tiffin.routing.storage import forget_before, open_existing

DAY_S = 86_400
LEAST_DAYS = 31
"""Budgets of a month are sums over the ledger."""


@click.command()
@click.option("--older-than", type=Span(), required=True, help="Such as 400d; at least 31d.")
@click.option("--ledger", help="A file or an address; by default that of the settings.")
@json_option
def prune(*, older_than: int, ledger: str | None, as_json: bool) -> None:
    """Remove attempts and decisions of older UTC days from the ledger, one day at a time.

    A server may go on. Files and corpora that expire are removed by the server itself.
    """
    if older_than < LEAST_DAYS * DAY_S:
        message = f"--older-than: budgets of a month need {LEAST_DAYS}d; use at least that"
        raise click.UsageError(message)
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(seconds=older_than)
    storage = open_existing(ledger or load_settings().ledger_at())
    try:
        attempts, decisions = forget_before(storage, first)
    finally:
        storage.close()
    if as_json:
        print_json({"before": first, "attempts": attempts, "decisions": decisions})
        return
    click.echo(f"before {first}: {attempts} attempts and {decisions} decisions removed", err=True)
