"""The `tiffin` command. A subcommand is a module of this package, added to the group here.

Exit codes: 0 done, 1 failed with the reason on stderr, 2 wrong usage.
"""

from typing import Any

import click

from models.errors import ModelError
from tiffin.cli.deploy import deploy
from tiffin.cli.keys import keys
from tiffin.cli.models import models
from tiffin.cli.plan import plan
from tiffin.cli.settings import settings
from tiffin.ops.settings import SettingsError


class _Group(click.Group):
    """Ends in one clear line where a command raises one of our errors."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (ModelError, SettingsError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Every model of a RAG application in one Bento."""


main.add_command(models)
main.add_command(settings)
main.add_command(deploy)
main.add_command(plan)
main.add_command(keys)

if __name__ == "__main__":
    main(prog_name="tiffin")
