"""`/v1/vector_stores/{id}/files` and `/file_batches`: files in corpora, in OpenAI's shape."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.queries import described, query_of
from tiffin.api.schemas.lists import Deleted, Listing, ListQuery, listing
from tiffin.api.schemas.members import (
    Batch,
    MemberChange,
    MemberObject,
    NewBatch,
    NewMember,
    TextPage,
)
from tiffin.api.schemas.search import Content
from tiffin.api.schemas.vector_stores import FileCounts
from tiffin.core.database import Page
from tiffin.core.errors import InvalidRequest, NotFound
from tiffin.corpus.entities import Corpus, Member, new_id
from tiffin.corpus.store import Store
from tiffin.gateway import Gateway, work_of

router = APIRouter(tags=["corpora"], route_class=JsonRoute)

ONE = "/v1/vector_stores/{vector_store_id}"
FILES = ONE + "/files"
FILE = FILES + "/{file_id}"
BATCHES = ONE + "/file_batches"
BATCH = BATCHES + "/{batch_id}"


@router.post(FILES, response_model=MemberObject)
async def add_file(body: NewMember, http: Request, vector_store_id: str) -> Response:
    """Put a file into a vector store. It is found when its status is `completed`."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    await _add(gateway, corpus, [body], None)
    return model_answer(await _shown(gateway, corpus, body.file_id))


@router.get(FILES, response_model=Listing[MemberObject], openapi_extra=described(ListQuery))
async def list_files(vector_store_id: str, http: Request) -> Listing[Any]:
    """List the files of a vector store, the newest first."""
    return await _listed(http, vector_store_id, None)


@router.get(FILE)
async def show_file(vector_store_id: str, file_id: str, http: Request) -> MemberObject:
    """Show a file of a vector store, and how far its ingestion is."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    return await _shown(gateway, corpus, file_id)


@router.post(FILE, response_model=MemberObject)
async def change_file(
    body: MemberChange, http: Request, vector_store_id: str, file_id: str
) -> Response:
    """Replace the attributes of a file."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    store = gateway.corpora.store
    await _member_of(store, corpus, file_id)
    attributes = body.attributes or {}
    await asyncio.to_thread(store.records.set_attributes, corpus.id, file_id, attributes)
    return model_answer(await _shown(gateway, corpus, file_id))


@router.delete(FILE)
async def remove_file(vector_store_id: str, file_id: str, http: Request) -> Deleted:
    """Take a file out of a vector store; the file itself stays."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    await _member_of(gateway.corpora.store, corpus, file_id)
    await asyncio.to_thread(gateway.corpora.store.records.drop_member, corpus.id, file_id)
    gateway.corpora.ingestion.wake(corpus.id)
    return Deleted(id=file_id, object="vector_store.file.deleted")


@router.get(FILE + "/content")
async def file_text(vector_store_id: str, file_id: str, http: Request) -> TextPage:
    """The text of a file as it was extracted, chunk by chunk."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    store = gateway.corpora.store
    if (await _member_of(store, corpus, file_id)).state != "completed":
        message = "file_id: it has no text until its status is completed"
        raise InvalidRequest(message, param="file_id", code="not_completed")
    rows = await asyncio.to_thread(lambda: store.table(corpus.table).text_of(file_id))
    return TextPage(data=[Content(text=row.quote) for row in rows])


@router.post(BATCHES, response_model=Batch)
async def create_batch(body: NewBatch, http: Request, vector_store_id: str) -> Response:
    """Put several files into a vector store."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    if bool(body.file_ids) == bool(body.files):
        message = "file_ids: give either file_ids or files, and at least one"
        raise InvalidRequest(message, param="file_ids")
    batch = new_id("vsfb_")
    await _add(gateway, corpus, body.members(), batch)
    return model_answer(await _batch_of(gateway.corpora.store, corpus, batch))


@router.get(BATCH)
async def show_batch(vector_store_id: str, batch_id: str, http: Request) -> Batch:
    """Show how far a batch is."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    return await _batch_of(gateway.corpora.store, corpus, batch_id)


@router.post(BATCH + "/cancel")
async def cancel_batch(vector_store_id: str, batch_id: str, http: Request) -> Batch:
    """Cancel what still waits of a batch."""
    gateway, corpus = await _corpus_of(http, vector_store_id)
    store = gateway.corpora.store
    await _batch_of(store, corpus, batch_id)
    await asyncio.to_thread(store.records.cancel, corpus.id, batch_id)
    return await _batch_of(store, corpus, batch_id)


@router.get(
    BATCH + "/files", response_model=Listing[MemberObject], openapi_extra=described(ListQuery)
)
async def list_batch(vector_store_id: str, batch_id: str, http: Request) -> Listing[Any]:
    """List the files of a batch."""
    return await _listed(http, vector_store_id, batch_id)


async def _corpus_of(http: Request, id_: str) -> tuple[Gateway, Corpus]:
    gateway, context = work_of(http)
    store = gateway.corpora.store
    return gateway, await store.ask(store.corpus_of, context.tenant, id_)


async def _member_of(store: Store, corpus: Corpus, file: str) -> Member:
    member = await store.ask(store.records.member, corpus.id, file)
    if member is None:
        message = f"file_id: {file!r} is not in this vector store"
        raise NotFound(message, param="file_id", code="file_not_found")
    return member


async def _shown(gateway: Gateway, corpus: Corpus, file: str) -> MemberObject:
    member = await _member_of(gateway.corpora.store, corpus, file)
    flagged = await gateway.corpora.store.ask(gateway.flagged_chunks, file)
    return MemberObject.of(member, flagged)


async def _add(gateway: Gateway, corpus: Corpus, new: list[NewMember], batch: str | None) -> None:
    """Queue files. One that is there already, whole and with these attributes, costs nothing."""
    store, members = gateway.corpora.store, []
    for one in new:
        file = await store.ask(store.file_of, corpus.tenant, one.file_id)
        known = await store.ask(store.records.member, corpus.id, file.id)
        attributes = dict(one.attributes or {})
        if batch is None and known and known.state in {"completed", "in_progress"}:
            if attributes != known.attributes:
                await store.ask(store.records.set_attributes, corpus.id, file.id, attributes)
            continue
        members.append(
            Member(corpus.id, file.id, "in_progress", attributes=attributes, bytes=file.bytes)
        )
    if members:
        await asyncio.to_thread(store.records.add_members, members, batch)
        gateway.corpora.ingestion.wake()


async def _listed(http: Request, id_: str, batch: str | None) -> Listing[Any]:
    gateway, corpus = await _corpus_of(http, id_)
    query, store = query_of(http, ListQuery), gateway.corpora.store
    if batch is not None:
        await _batch_of(store, corpus, batch)
    page = Page(query.after, query.before, query.limit + 1, query.order == "desc")
    found = await asyncio.to_thread(store.records.members, corpus.id, page, query.filter, batch)
    flagged = await asyncio.to_thread(lambda: [gateway.flagged_chunks(one.file) for one in found])
    return listing(list(map(MemberObject.of, found, flagged)), query.limit)


async def _batch_of(store: Store, corpus: Corpus, id_: str) -> Batch:
    created = await store.ask(store.records.batch, corpus.id, id_)
    if created is None:
        message = f"batch_id: there is no batch {id_!r} of this vector store"
        raise NotFound(message, param="batch_id", code="batch_not_found")
    states, _ = await asyncio.to_thread(store.records.counts, corpus.id, id_)
    status = "in_progress" if states.get("in_progress") else "completed"
    if status == "completed" and states.get("cancelled"):
        status = "cancelled"
    elif status == "completed" and states.get("failed") and not states.get("completed"):
        status = "failed"
    return Batch.model_validate(
        {
            "id": id_,
            "created_at": created,
            "vector_store_id": corpus.id,
            "status": status,
            "file_counts": FileCounts.of(states),
        }
    )
