"""The `tiffin` command. Each subcommand is a function in the module of the same name.

Only the module of the subcommand that runs is imported, because importing all of them takes half a
second. Exit codes: 0 done, 1 failed with the reason on stderr, 2 wrong usage.
"""

import difflib
import sqlite3
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
import yaml

from models.errors import ModelError
from tiffin import __version__
from tiffin.cli.as_json import FLAG, print_json
from tiffin.config.section import SettingsError

SUBCOMMANDS = {
    "backup": "Copy corpora, files, ledger and keys into one file, while serving.",
    "bench": "Load a running server, and see latencies, stages and goodput.",
    "cache": "What a running server keeps of answers, and how to remove it.",
    "corpus": "List corpora and their health, and embed one by another model.",
    "costs": "What the answers cost, by day, tenant, tier, model, provider or policy.",
    "deploy": "Start one service alone, render files for a platform, simulate scaling.",
    "doctor": "Check whether this machine can serve, and say what to do if not.",
    "eval": "Measure answers and retrieval on your own questions.",
    "ingest": "Bring documents into a corpus of a running server.",
    "keys": "Create, limit, rotate, list and revoke API keys.",
    "models": "List, pull, verify and quantize the models of the catalogue.",
    "plan": "Which model runs on which GPU, what it takes and why.",
    "prune": "Forget what the ledger has of days long ago.",
    "restore": "Put the parts of a backup where they belong.",
    "router": "Train, calibrate and evaluate the router (in a clone); replay its decisions.",
    "safety": "Find the thresholds of the safety checks on your own texts.",
    "serve": "Fetch the weights that are missing, and serve everything on one port.",
    "settings": "The settings in force, where they come from, and all variables.",
}
"""With their lines of the help, so that the help imports none of them."""

MODULES = {"eval": "evaluate"}
"""Those whose module cannot have the subcommand's name."""

AS_JSON = "tiffin.json"
"""The key in a context's `meta`."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The subcommands with a line each."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand, or an error that says which one was probably meant."""
        name = args[0]
        if name not in SUBCOMMANDS and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}{_suggestion(name, list(SUBCOMMANDS))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note whether a program reads the answer, which is then JSON if it is an error too."""
        ctx.meta[AS_JSON] = FLAG in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            if not ctx.meta[AS_JSON]:
                raise
            print_json({"error": error.format_message()})
            raise click.exceptions.Exit(error.exit_code) from None

    def _invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (ModelError, SettingsError) as error:
            raise click.ClickException(str(error)) from error
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] in {"tiffin", "models", "lab"}:
                raise
            message = f"this needs the package {error.name!r}, which is not installed"
            raise click.ClickException(message) from error
        except (OSError, sqlite3.Error, yaml.YAMLError, UnicodeDecodeError) as error:
            raise click.ClickException(_one_line(error)) from error


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


def _one_line(error: Exception) -> str:
    """What went wrong with a file, a folder, a port or a database."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="tiffin %(version)s")
def main() -> None:
    """Every model of a RAG application in one Bento."""


if __name__ == "__main__":
    main(prog_name="tiffin")
