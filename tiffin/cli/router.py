"""`tiffin router`: replays recorded decisions, and finds the commands of `lab/router`."""

from importlib import import_module
from importlib.util import find_spec

import click
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.progress import print_table
from tiffin.config.settings import SettingsError, load_settings
from tiffin.routing.assembly import fleet_of
from tiffin.routing.replay import Outcome, read_decisions, replay

IN_LAB = ("train", "calibrate", "eval")
"""Commands that come with a clone's lab/ folder, which is not installed with the application."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands; those of the lab only if it is here."""
        return [*(IN_LAB if find_spec("lab") else ()), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, from the lab if it is one of the lab's."""
        if cmd_name not in IN_LAB:
            return super().get_command(ctx, cmd_name)
        if find_spec("lab") is None:
            message = f"`tiffin router {cmd_name}` comes with the lab/ folder of a clone of Tiffin"
            raise click.ClickException(message)
        command: click.Command = getattr(
            import_module("lab.router.commands"), f"{cmd_name}_command"
        )
        return command


@click.group(cls=_Group)
def router() -> None:
    """Train, calibrate and evaluate the router (in a clone); replay its decisions."""


@router.command("replay")
@click.option("--policy", "name", required=True, help="A policy of the settings.")
@click.option("--ledger", help="A file or an address. Default: the ledger of the settings.")
@json_option
def replay_command(name: str, ledger: str | None, *, as_json: bool) -> None:
    """Decide the ledger's requests again by another policy; print tiers, cost and quality."""
    settings = load_settings()
    policy = settings.routing.policies.get(name)
    if policy is None:
        allowed = ", ".join(settings.routing.policies)
        raise SettingsError(f"no policy {name!r}; there are: {allowed}")
    recorded = read_decisions(ledger or settings.ledger_at())
    was, would = replay(recorded, name, policy, fleet_of(settings), settings.routing.caps)
    if as_json:
        print_json({"recorded": vars(was), name: vars(would)})  # asdict spoils a Counter
        return
    table = Table("", "requests", "refused", "USD, at most", "expected quality", "tiers")
    for title, outcome in (("recorded", was), (name, would)):
        table.add_row(title, *_outcome_cells(outcome))
    print_table(table)


def _outcome_cells(outcome: Outcome) -> list[str]:
    count = max(1, outcome.requests)
    tiers = ", ".join(f"{name} {n / count:.0%}" for name, n in outcome.tiers.most_common())
    quality = f"{outcome.quality / count:.3f}"
    return [str(outcome.requests), str(outcome.refused), f"{outcome.usd:.6f}", quality, tiers]
