"""The settings made by variables, as the containers get them.

A profile is in the image; a variable is only here. So each one that is set reaches every container
as it is, becomes a reference to a secret of the platform, is said by the rendered files in their
own way, or is refused by name. `Plan` asks; every renderer uses it.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr

from tiffin.config.section import SettingsError
from tiffin.config.settings import variables

TOKEN = "TIFFIN_INTERNAL__TOKEN"  # noqa: S105  the name of a variable
KEYS_FILE = "TIFFIN_ACCESS__KEYS_FILE"
LEDGER = "TIFFIN_ROUTING__LEDGER"
CORPORA = "TIFFIN_CORPORA"

OF_THE_RENDERER = frozenset({"TIFFIN_HOME", "TIFFIN_PROFILE", KEYS_FILE})
"""Said by the rendered files in their own way."""

TELEMETRY = "OTEL_"
"""What OpenTelemetry's SDK reads begins with it."""
TELEMETRY_SECRETS = ("HEADERS", "PASSWORD", "TOKEN", "KEY")

OBJECT_STORAGE = ("AWS_ENDPOINT", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP")
OBJECT_STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What says where object storage is, and what opens it."""

IN_THE_IMAGE = "/home/bentoml/"
"""Files below it are in the image: a variable may name one."""

PASSWORD = re.compile(r"://[^\s/@\"]*:[^\s/@\"]+@")


def carried() -> dict[str, str]:
    """Variables with their text. Raises SettingsError for one that no container can be given."""
    found = {}
    for variable, kind in _set():
        if variable in OF_THE_RENDERER or _is_secret(variable, kind):
            continue
        text = os.environ[variable]
        if strange := next((path for path in _paths(variable, kind, text) if _is_here(path)), None):
            message = f"{strange} is a path of this machine, which the containers do not have"
            remedy = f"unset it, or put the file into the image, below {IN_THE_IMAGE}"
            raise SettingsError(f"{variable}: {message}: {remedy}")
        if PASSWORD.search(text):
            message = "an address with a password would stand in the rendered files: leave it out"
            raise SettingsError(f"{variable}: {message}")
        found[variable] = text
    return found


def object_storage() -> dict[str, str]:
    """The variables that say where object storage is. Raises SettingsError if none does."""
    found = {name: os.environ[name] for name in OBJECT_STORAGE if os.environ.get(name)}
    if not found.keys() & set(OBJECT_STORAGE[:3]):
        message = "containers must be told where it is: set AWS_REGION, or AWS_ENDPOINT"
        raise SettingsError(f"TIFFIN_CHUNKS: {message}")
    return found


def secrets() -> list[str]:
    """Variables that are set and may not be written into a file, but for the internal token."""
    return [name for name, kind in _set() if name != TOKEN and _is_secret(name, kind)]


def _set() -> Iterator[tuple[str, Any]]:
    """The variables that are set and that a container would read, with their types."""
    for variable, info in variables().items():
        if os.environ.get(variable):
            yield variable, info.annotation
    for variable in sorted(os.environ):
        if variable.startswith(TELEMETRY):
            yield variable, str


def _is_secret(variable: str, kind: Any) -> bool:  # noqa: ANN401  an annotation
    if variable.startswith(TELEMETRY):
        return variable.endswith(TELEMETRY_SECRETS)
    return SecretStr in _types(kind)


def _paths(variable: str, kind: Any, text: str) -> list[str]:  # noqa: ANN401  an annotation
    """The paths in a variable's text."""
    if variable in {LEDGER, CORPORA}:
        return [] if "://" in text else [text]
    if Path not in _types(kind):
        return []
    return list(json.loads(text).values()) if text.startswith("{") else [text]


def _is_here(path: str) -> bool:
    return "://" not in path and not path.startswith(IN_THE_IMAGE)


def _types(kind: Any) -> set[Any]:  # noqa: ANN401  an annotation
    """A type with all that it is made of."""
    return {kind}.union(*map(_types, get_args(kind)))
