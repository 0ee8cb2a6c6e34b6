"""How a route reads its JSON body, and how it writes a JSON answer.

FastAPI describes the routes; calling them its own way would take longer than reading the body,
and would validate and copy each answer once more.
"""

import codecs
import re
from collections.abc import Awaitable, Callable, Sequence
from inspect import signature
from typing import Any

import msgspec
from fastapi import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.routing import request_response

from tiffin.api.schemas.openai import TOO_DEEP, UNKNOWN_TYPE
from tiffin.core.errors import FieldTooLarge, InvalidRequest
from tiffin.transport.disconnect import CLIENT_CLOSED_REQUEST

JSON = "application/json"

TRUNCATED_HEADER = "x-tiffin-truncated"

PARSER_LEVELS = 201
"""Levels of arrays and objects inside one another that pydantic's parser reads."""

PROBLEMS_READ = 1000
"""Describing more problems than these, to name one, would hold up other requests."""

SHOWN_CHARS = 60
"""A value that a message quotes is cut to so many characters."""

_IN_JSON = {"None": "null", "True": "true", "False": "false"}
_IN_PYTHON = re.compile(r"\b(None|True|False)\b")
"""How pydantic names the values, and how a client wrote them."""

_REMEDIES = {
    "extra_forbidden": "; leave the field out",
    "none_required": ", or left out: nothing else is possible here",
}

Endpoint = Callable[..., Awaitable[Response]]


def numbers_answer(body: object, cut: Sequence[int] = ()) -> Response:
    """JSON of many numbers, written fast enough not to hold up other requests.

    `cut` has the positions of the inputs of which the model did not read the end.
    """
    headers = {TRUNCATED_HEADER: str(len(cut))} if cut else None
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)


def usage_of(tokens: int, cut: Sequence[int]) -> dict[str, Any]:
    """What an encoder read, as OpenAI counts it; `truncated_inputs` is there if there are any."""
    truncated = {"truncated_inputs": list(cut)} if cut else {}
    return {"prompt_tokens": tokens, "total_tokens": tokens, **truncated}


def model_answer(body: BaseModel, headers: dict[str, str] | None = None) -> Response:
    """A response model as JSON, under its public names."""
    return Response(body.model_dump_json(by_alias=True), headers=headers, media_type=JSON)


class JsonRoute(APIRoute):
    """Calls `endpoint(body, http, ...)` with the body as its annotation describes it.

    What follows are the parts of the path that have names.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **described: Any) -> None:  # noqa: ANN401
        super().__init__(path, endpoint, **described)
        if self.body_field is not None:
            self.app = request_response(_reading(endpoint))


def _reading(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    annotation = signature(endpoint, eval_str=True).parameters["body"].annotation
    validate = TypeAdapter(annotation).validate_json

    async def answer(http: Request) -> Response:
        if not _says_json(http.headers.get("content-type", "")):
            raise _no_object()
        try:
            sent = (await http.body()).removeprefix(codecs.BOM_UTF8)
            body = validate(sent, context=http.app.state.limits)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except ValidationError as error:
            raise _refusal(error) from error
        return await endpoint(body, http, **http.path_params)

    return answer


def _says_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and subtype.rpartition("+")[2] == "json"


def _refusal(error: ValidationError) -> InvalidRequest:
    """The error for a body that is not what the route reads."""
    if (count := error.error_count()) > PROBLEMS_READ:
        message = f"body: {count:,} fields of it are unknown or wrong"
        return InvalidRequest(message, param="body", code="too_many_errors")
    return from_validation(error.errors(include_url=False))


def from_validation(problems: Sequence[Any]) -> InvalidRequest:
    """The most exact problem that pydantic found in a body, named as the client wrote it.

    A part of an unknown type lacks fields too: its type is what is wrong with it.
    """
    problem = max(problems, key=lambda one: (len(one["loc"]), one["type"] == "literal_error"))
    kind, param = problem["type"], field_name(problem["loc"])
    if kind == "json_invalid":
        return _no_json(problem["ctx"]["error"])
    if kind == "model_type" and param == "body":
        return _no_object()
    reason = _IN_PYTHON.sub(lambda word: _IN_JSON[word[0]], problem["msg"])
    reason = reason.removeprefix("Value error, ") + _REMEDIES.get(kind, "")
    if kind == UNKNOWN_TYPE:
        param += ".type"
        reason += f"; it is {_type_of(problem['input'])}"
    message = f"{param}: {reason[0].lower()}{reason[1:]}"
    too_large = kind in {"too_long", "string_too_long"}
    error = FieldTooLarge if too_large else InvalidRequest
    return error(message, param=param, code=kind)


def _no_json(why: str) -> InvalidRequest:
    """The error for a body that pydantic's parser does not read."""
    if why.startswith("recursion limit"):
        message = f"body: nested deeper than the limit of {PARSER_LEVELS} levels"
        return InvalidRequest(message, param="body", code=TOO_DEEP)
    message = f"the body is not valid JSON in UTF-8: {why}"
    return InvalidRequest(message, param="body", code="invalid_json")


def _no_object() -> InvalidRequest:
    """The error for a body that is not a JSON object, or does not say that it is JSON."""
    message = "body: send a JSON object, with the header `content-type: application/json`"
    return InvalidRequest(message, param="body", code="invalid_json")


def _type_of(value: object) -> str:
    """The type that an object names, as a message shows it."""
    if not isinstance(value, dict):
        return "missing: this is no object"
    return repr(value["type"])[:SHOWN_CHARS] if "type" in value else "missing"


def field_name(location: Sequence[str | int]) -> str:
    """`("documents", 3, "Document", "text")` as `documents[3].text`."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        elif not _is_type(part):
            name += f".{part}" if name else part
    return name or "body"


def _is_type(part: str) -> bool:
    """Whether pydantic means a member of a union rather than a field."""
    return part[:1].isupper() or part in {"str", "int"} or "[" in part or "-" in part
