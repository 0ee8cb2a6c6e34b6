"""`tiffin settings`: the settings in force, and the variables that change them."""

import json
import os
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin

import click
import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tiffin.cli.as_json import json_option, print_json
from tiffin.config.settings import PREFIX, Settings, load_settings, profile_line, variables

COLUMNS = ("variable", "allowed", "default", "what it is")


@click.command()
@click.option("--profile", help="Show this profile; by default, the current one.")
@click.option("--variables", "list_variables", is_flag=True, help="List all variables.")
@click.option("--changed", is_flag=True, help="Only what is set, and by what.")
@json_option
def settings(profile: str | None, *, list_variables: bool, changed: bool, as_json: bool) -> None:
    """Print the settings in force, or all variables as a Markdown table."""
    if list_variables:
        if as_json:
            print_json([dict(zip(COLUMNS, row, strict=True)) for row in variable_rows()])
        else:
            click.echo(variables_table())
        return
    loaded = load_settings(profile=profile) if profile else load_settings()
    shown: Any = changes(loaded) if changed else loaded.model_dump(mode="json")
    if as_json:
        print_json(shown)
    elif changed:
        for name, change in shown.items():
            click.echo(f"{name}={json.dumps(change['value'])}  ({change['origin']})")
    else:
        click.echo(yaml.safe_dump(shown, sort_keys=False), nl=False)


def changes(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the profile or the environment sets, by its variable: the value, and where."""
    dumped = settings.model_dump(mode="json")
    found: dict[str, dict[str, Any]] = {}
    for name in variables():
        path = name.removeprefix(PREFIX).lower().split("__")
        value: Any = dumped
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if name in os.environ:
            found[name] = {"value": value, "origin": "environment"}
        elif line := profile_line(path, settings.profile):
            found[name] = {"value": value, "origin": f"{settings.profile}.yaml, line {line}"}
    return found


def variables_table() -> str:
    """The table of docs/configuration.md."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
    for name, *cells in variable_rows():
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def variable_rows() -> Iterator[tuple[str, str, str, str]]:
    """Every variable: its name, what is allowed, the default, what it is."""
    for name, info in variables().items():
        yield name, _allowed(info), _default(info), " ".join((info.description or "").split())


def _allowed(info: FieldInfo) -> str:
    """The values that a field accepts, according to its JSON schema."""
    kind: Any = info.annotation
    if get_origin(kind) in (dict, tuple):
        return "JSON"
    kind = next((part for part in get_args(kind) if part is not NoneType), kind)
    if isinstance(kind, str):  # the first value of a literal
        kind = info.annotation
    schema = {**TypeAdapter(kind).json_schema(), **_bounds(info)}
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    bounds = [f"{word} {schema[key]:,}" for key, word in _WORDS.items() if key in schema]
    return ", ".join([schema.get("format") or schema["type"], *bounds])


_WORDS = {"minimum": "at least", "maximum": "at most"}


def _bounds(info: FieldInfo) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for constraint in info.metadata:
        if (low := getattr(constraint, "ge", None)) is not None:
            bounds["minimum"] = low
        if (high := getattr(constraint, "le", None)) is not None:
            bounds["maximum"] = high
    return bounds


def _default(info: FieldInfo) -> str:
    if info.default_factory is dict:
        return "`{}`"
    if info.default is PydanticUndefined:
        return "the profile's"
    if info.default is None:
        return "none"
    return f"`{json.dumps(info.default, default=str)}`".replace('"', "")
