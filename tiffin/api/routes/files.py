"""`/v1/files`: what is uploaded for corpora, in OpenAI's shape."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, StreamingResponse

from tiffin.api.bodies import from_validation
from tiffin.api.queries import described, query_of
from tiffin.api.schemas.files import FileExpiry, FileListQuery, FileObject, Purpose
from tiffin.api.schemas.lists import Deleted, Listing, listing
from tiffin.core.database import Page
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Value
from tiffin.corpus.entities import File, new_id
from tiffin.gateway import work_of

router = APIRouter(tags=["corpora"])

PIECE_BYTES = 1 << 20
NAME_CHARS = 255
PATH = "/v1/files"


class _Fields(Value):
    """The fields of the form beside the file."""

    purpose: Purpose
    expires_after: FileExpiry | None = None


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": ["assistants", "user_data"]},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer"},
                    },
                }
            }
        },
    }
}


@router.post(PATH, openapi_extra=_FORM)
async def upload(http: Request) -> FileObject:
    """Store a file. It can be found once it is put into a vector store."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    try:
        async with http.form(max_files=1, max_fields=8) as form:
            sent, fields = _file_of(form), _fields_of(form)
            pieces = iter(lambda: sent.file.read(PIECE_BYTES), b"")
            digest, size = await asyncio.to_thread(store.save, _not_empty(pieces))
            name, kind = _name_of(sent), sent.content_type
    except HTTPException as error:  # Starlette's word for a form that it cannot read
        raise InvalidRequest(f"body: {error.detail}", param="body", code="invalid_form") from error
    created = int(time.time())
    file = File(
        *(new_id("file-"), context.tenant, name, kind, digest, size),
        purpose=fields.purpose,
        created=created,
        expires=created + fields.expires_after.seconds if fields.expires_after else None,
    )
    await asyncio.to_thread(store.records.add_file, file)
    return FileObject.of(file)


@router.get(PATH, response_model=Listing[FileObject], openapi_extra=described(FileListQuery))
async def list_files(http: Request) -> Listing[Any]:
    """List the files, the newest first."""
    gateway, context = work_of(http)
    query, store = query_of(http, FileListQuery), gateway.corpora.store
    page = Page(query.after, None, query.limit + 1, query.order == "desc")
    found: list[File] = []
    if store.exists:
        found = await asyncio.to_thread(store.records.files, context.tenant, page, query.purpose)
    return listing([FileObject.of(file) for file in found], query.limit)


@router.get(PATH + "/{file_id}")
async def show_file(file_id: str, http: Request) -> FileObject:
    """Show a file."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    return FileObject.of(await store.ask(store.file_of, context.tenant, file_id))


@router.get(PATH + "/{file_id}/content", response_class=Response)
async def file_content(file_id: str, http: Request) -> Response:
    """The bytes of a file, as they were uploaded."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    file = await store.ask(store.file_of, context.tenant, file_id)
    kind = "application/octet-stream"  # never shown as a page of this site, whatever was uploaded
    headers = {"x-content-type-options": "nosniff"}
    if (path := store.uploads.path(file.digest)) is not None:
        return FileResponse(path, media_type=kind, filename=file.name, headers=headers)
    pieces = await asyncio.to_thread(store.uploads.pieces, file.digest)
    headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(file.name)}"
    headers["content-length"] = str(file.bytes)
    return StreamingResponse(pieces, media_type=kind, headers=headers)


@router.delete(PATH + "/{file_id}")
async def delete_file(file_id: str, http: Request) -> Deleted:
    """Delete a file, from all vector stores too."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    file = await store.ask(store.file_of, context.tenant, file_id)
    corpora = await asyncio.to_thread(store.records.corpora_of, file.id)
    await asyncio.to_thread(store.remove, file)
    for corpus in corpora:
        gateway.corpora.ingestion.wake(corpus)
    return Deleted(id=file.id, object="file")


def _file_of(form: FormData) -> UploadFile:
    sent = form.get("file")
    if not isinstance(sent, UploadFile):
        message = "file: send the file as the part `file` of a multipart form"
        raise InvalidRequest(message, param="file", code="missing")
    return sent


def _fields_of(form: FormData) -> _Fields:
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        outer, _, inner = key.partition("[")
        if inner:
            fields.setdefault(outer, {})[inner.rstrip("]")] = value
        elif outer != "file":
            fields[outer] = value
    try:
        return _Fields.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False)) from error


def _name_of(sent: UploadFile) -> str:
    """The last part of the name: clients send paths, and nothing is stored under it."""
    name = (sent.filename or "").replace("\\", "/").rpartition("/")[2]
    if not name or len(name) > NAME_CHARS or not name.isprintable():
        message = f"file: give it a printable name of up to {NAME_CHARS} characters"
        raise InvalidRequest(message, param="file", code="invalid_name")
    return name


def _not_empty(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    if not first:
        raise InvalidRequest("file: it is empty", param="file", code="empty_file")
    yield first
    yield from pieces
