"""The `tiffin` command. Each subcommand is a function in the module of the same name.

Only the module of the subcommand that runs is imported, because importing all of them takes half a
second. Exit codes: 0 done, 1 failed with the reason on stderr, 2 wrong usage.
"""

from importlib import import_module
from typing import Any

import click

from models.errors import ModelError
from tiffin.config.section import SettingsError

SUBCOMMANDS = (
    "cache",
    "costs",
    "deploy",
    "eval",
    "keys",
    "models",
    "plan",
    "router",
    "safety",
    "settings",
)

MODULES = {"eval": "evaluate"}
"""Those whose module cannot have the subcommand's name."""


class _Group(click.Group):
    """Prints one clear line when a command raises one of our errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the subcommands, for the help."""
        del ctx
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of this name."""
        del ctx
        if cmd_name not in SUBCOMMANDS:
            return None
        name = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"tiffin.cli.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (ModelError, SettingsError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Every model of a RAG application in one Bento."""


if __name__ == "__main__":
    main(prog_name="tiffin")
