"""Cuts OpenAI's OpenAPI document down to the schemas of what our routes answer.

README.md beside this file says where the document is from, and how this is run.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ANSWERS = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "Response",
    "ResponseStreamEvent",
    "CreateEmbeddingResponse",
    "ListModelsResponse",
    "Model",
    "ErrorResponse",
)
UNUSED = {"description", "example", "examples", "title", "deprecated", "externalDocs", "default"}
"""Says nothing about which bodies are valid."""


def trimmed(schemas: dict[str, Any]) -> dict[str, Any]:
    """The answers, and every schema that they refer to."""
    found: dict[str, Any] = {}
    wanted = list(ANSWERS)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _bare(schemas[name])
            wanted += re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(found[name]))
    return dict(sorted(found.items()))


def _bare(schema: Any) -> Any:
    """A schema without its prose; a property may have the name of a keyword."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(value) for name, value in value.items()}
        if key == "properties"
        else _bare(value)
        for key, value in schema.items()
        if key not in UNUSED and not key.startswith("x-")
    }


if __name__ == "__main__":
    document = yaml.safe_load(Path(sys.argv[1]).read_text())
    schemas = trimmed(document["components"]["schemas"])
    print(json.dumps({"components": {"schemas": schemas}}, indent=1))
