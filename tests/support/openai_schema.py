"""Holds a body against OpenAI's own published schema (tests/data/openai).

Stricter than that: a field that the schema does not know is an error too, as no client expects it.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SCHEMAS = Path(__file__).parents[1] / "data/openai/schemas.json.gz"

OURS: dict[str, dict[str, Any]] = {
    # What a name of `/v1/models` is for.
    "Model": {"task": {"enum": ["chat", "embedding", "rerank"]}},
    # With it OpenAI's client raises its APIError; without it the stream ends like any other.
    "ResponseErrorEvent": {"error": {"$ref": "#/components/schemas/Error"}},
    # In all examples of the document, though not in its schema.
    "Response": {"store": {"type": "boolean"}},
    # Younger than the document; OpenAI's client already requires it.
    # What it cost in US dollars: a stream's headers have gone before this is known.
    "CompletionUsage": {"cost": {"type": "number"}},
    "ResponseUsage": {"cost": {"type": "number"}},
    "ResponseUsage.input_tokens_details": {"cache_write_tokens": {"type": "integer"}},
}
"""Fields that we send and the document does not have, and why."""


def assert_valid(name: str, body: Any) -> None:
    """Fail, and say where, unless the body is what OpenAI calls `name`."""
    if name == "ResponseStreamEvent":  # one of many: only its own schema tells what is wrong
        name = _events()[body["type"]]
    if error := best_match(_validator(name).iter_errors(body)):
        raise AssertionError(f"{name}{error.json_path[1:]}: {error.message}")


@cache
def _schemas() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(SCHEMAS.read_bytes()))
    schemas: dict[str, Any] = document["components"]["schemas"]
    return schemas


@cache
def _validator(name: str) -> Draft202012Validator:
    strict = {key: _strict(value) for key, value in _schemas().items()}
    for where, fields in OURS.items():
        key, *path = where.split(".")
        node = strict[key]
        for part in path:
            node = node["properties"][part]
        node["properties"] |= fields
    reference = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": strict}}
    return Draft202012Validator(reference)


@cache
def _events() -> dict[str, str]:
    """The schema of each event by its type."""
    named = [part["$ref"].rsplit("/", 1)[1] for part in _schemas()["ResponseStreamEvent"]["anyOf"]]
    return {_schemas()[name]["properties"]["type"]["enum"][0]: name for name in named}


def _strict(schema: Any) -> Any:
    """The schema with unknown fields forbidden, and its `nullable` in the words of today."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "allOf" in schema:
        return _strict(_merged(schema["allOf"]))
    strict = {
        key: {name: _strict(value) for name, value in value.items()}
        if key == "properties"
        else _strict(value)
        for key, value in schema.items()
    }
    if "properties" in strict:
        strict.setdefault("additionalProperties", False)
    if strict.pop("nullable", False):
        return {"anyOf": [strict, {"type": "null"}]}
    return strict


def _merged(parts: list[Any]) -> dict[str, Any]:
    """Several objects that are one: unknown is only what none of them knows."""
    merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        if "$ref" in part:
            part = _schemas()[part["$ref"].rsplit("/", 1)[1]]  # noqa: PLW2901
        if "allOf" in part:
            part = _merged(part["allOf"])  # noqa: PLW2901
        merged["properties"] |= part.get("properties", {})
        merged["required"] += part.get("required", [])
    return merged
