"""The option `--json` of every command, and how JSON is printed.

A command that fails and was given `--json` prints `{"error": ...}` on stdout: see `main.py`.
"""

import json
from typing import Any

import click

FLAG = "--json"

json_option = click.option(FLAG, "as_json", is_flag=True, help="Print JSON for a program.")
"""The command gets it as `as_json`."""


def print_json(value: Any) -> None:  # noqa: ANN401  whatever JSON can be
    """Print on stdout. What JSON has no word for, such as a path, is printed as its text."""
    click.echo(json.dumps(value, indent=2, default=str))
