"""Writes the schemas beside this file, out of two packages that carry the CRDs of both.

Run by hand, for a newer version, in a throw-away environment: README.md says how.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

HERE = Path(__file__).parent


def strict(schema: Any) -> Any:
    """Without words and defaults, null refused as the API server does, and no unknown field."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("anyOf"), list):
        choices = [part for part in schema["anyOf"] if part != {"type": "null"}]
        if len(choices) == 1:
            return strict(choices[0])
    dropped = ("default", "description", "title", "$defs")
    kept = {
        key: {name: strict(part) for name, part in value.items()}
        if key == "properties"
        else strict(value)
        for key, value in schema.items()
        if key not in dropped
    }
    if "properties" in kept:
        kept["additionalProperties"] = False
    return kept


def used(schema: Any, definitions: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The definitions that a schema leads to."""
    if isinstance(schema, list):
        for part in schema:
            used(part, definitions, found)
    elif isinstance(schema, dict):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name and name not in found:
            found[name] = strict(definitions[name])
            used(found[name], definitions, found)
        for part in schema.values():
            used(part, definitions, found)
    return found


for model, package in ((ScaledObject, "keda"), (ServiceMonitor, "prometheus-operator")):
    full = model.model_json_schema(by_alias=True)
    schema = strict(full)
    schema["properties"].pop("status", None)  # nobody writes it by hand
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["$defs"] = dict(sorted(used(schema, full["$defs"], {}).items()))
    name = f"cloudcoil-models-{package}"
    comment = f"from {name} {metadata.version(name)}, Apache-2.0"
    text = json.dumps({"$comment": comment, **schema}, indent=1)
    (HERE / f"{model.__name__}.json").write_text(text + "\n")
