"""How a route reads its query string, as `bodies.py` does its body: refused in our shape."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from tiffin.api.bodies import from_validation

Query = TypeVar("Query", bound=BaseModel)


def query_of(http: Request, kind: type[Query]) -> Query:
    """The query of a request. Raises InvalidRequest that names the first wrong parameter."""
    try:
        return kind.model_validate(dict(http.query_params))
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False)) from error


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """What a route tells FastAPI of its query: pass it as `openapi_extra`."""
    properties = kind.model_json_schema()["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in properties.items()
        ]
    }
