"""Answers in JSON, for the routes: FastAPI's own way would validate and copy each once more."""

import msgspec
from fastapi import Response
from pydantic import BaseModel

JSON = "application/json"


def numbers_answer(body: object) -> Response:
    """JSON of many numbers, written without holding up other requests."""
    return Response(msgspec.json.encode(body), media_type=JSON)


def model_answer(body: BaseModel, headers: dict[str, str] | None = None) -> Response:
    """A response model by its public names, as it is."""
    return Response(body.model_dump_json(by_alias=True), headers=headers, media_type=JSON)
