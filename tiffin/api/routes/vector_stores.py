"""`/v1/vector_stores`: corpora and their search, in OpenAI's shape. Files in them: `members.py`."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_query
from tiffin.api.queries import described, query_of
from tiffin.api.schemas.lists import Deleted, Listing, ListQuery, listing
from tiffin.api.schemas.search import SearchPage, SearchResult, VectorStoreQuery
from tiffin.api.schemas.vector_stores import (
    NewVectorStore,
    Progress,
    StoreHealth,
    VectorStore,
    VectorStoreChange,
)
from tiffin.core.context import RequestContext
from tiffin.core.database import Page
from tiffin.core.errors import InvalidRequest, UpstreamFailed
from tiffin.core.scores import best_first, sigmoid
from tiffin.corpus.entities import Corpus, Member, new_id
from tiffin.corpus.hybrid import Hit, Wanted
from tiffin.corpus.search import OTHER_EMBEDDER
from tiffin.corpus.store import Store
from tiffin.gateway import Gateway, work_of
from tiffin.traffic.admission import EMBED
from tiffin.traffic.quota import charge

router = APIRouter(tags=["corpora"], route_class=JsonRoute)

logger = logging.getLogger(__name__)

PATH = "/v1/vector_stores"
ONE = PATH + "/{vector_store_id}"
RERANKED = 20
"""Candidates that a search scores for each answer, unless more results are wanted."""


@router.post(PATH, response_model=VectorStore)
async def create(body: NewVectorStore, http: Request) -> Response:
    """Create a vector store, with the files that are named."""
    gateway, context = work_of(http)
    store, now = gateway.corpora.store, int(time.time())
    named = dict.fromkeys(body.file_ids)
    files = [await store.ask(store.file_of, context.tenant, id_) for id_ in named]
    corpus = Corpus(
        *(new_id("vs_"), context.tenant, body.name or "", body.description or ""),
        *(store.embedder, dict(body.metadata or {}), now, now),
        expires_days=_days(body),
        version=0,
    )
    await asyncio.to_thread(store.records.add_corpus, corpus)
    members = [Member(corpus.id, file.id, "in_progress", bytes=file.bytes) for file in files]
    if members:
        await asyncio.to_thread(store.records.add_members, members)
        gateway.corpora.ingestion.wake()
    return model_answer(await _shown(store, corpus))


@router.get(PATH, response_model=Listing[VectorStore], openapi_extra=described(ListQuery))
async def list_vector_stores(http: Request) -> Listing[Any]:
    """List the vector stores, the newest first."""
    gateway, context = work_of(http)
    query, store = query_of(http, ListQuery), gateway.corpora.store
    if not store.exists:
        return listing([], query.limit)
    page = Page(query.after, query.before, query.limit + 1, query.order == "desc")
    found = await asyncio.to_thread(store.records.corpora, context.tenant, page)
    return listing([await _shown(store, corpus) for corpus in found], query.limit)


@router.get(ONE)
async def show(vector_store_id: str, http: Request) -> VectorStore:
    """Show a vector store."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    return await _shown(store, await store.ask(store.corpus_of, context.tenant, vector_store_id))


@router.get(ONE + "/health")
async def health(vector_store_id: str, http: Request) -> StoreHealth:
    """Show how a vector store is on disk."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    corpus = await store.ask(store.corpus_of, context.tenant, vector_store_id)
    return await asyncio.to_thread(_health_of, store, corpus)


@router.post(ONE + "/reembed")
async def reembed(vector_store_id: str, http: Request) -> StoreHealth:
    """Embed a vector store by this server's model, in the background; its health says how far."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    corpus = await store.ask(store.corpus_of, context.tenant, vector_store_id)
    await gateway.corpora.reembed(corpus)
    return await asyncio.to_thread(_health_of, store, corpus)


@router.post(ONE, response_model=VectorStore)
async def change(body: VectorStoreChange, http: Request, vector_store_id: str) -> Response:
    """Change a vector store's name, metadata or expiry."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    corpus = await store.ask(store.corpus_of, context.tenant, vector_store_id)
    said = body.model_fields_set
    changed = replace(
        corpus,
        name=(body.name or "") if "name" in said else corpus.name,
        metadata=dict(body.metadata or {}) if "metadata" in said else corpus.metadata,
        expires_days=_days(body) if "expires_after" in said else corpus.expires_days,
    )
    await asyncio.to_thread(store.records.update_corpus, changed)
    return model_answer(await _shown(store, changed))


@router.delete(ONE)
async def delete(vector_store_id: str, http: Request) -> Deleted:
    """Delete a vector store; its files stay."""
    gateway, context = work_of(http)
    store = gateway.corpora.store
    corpus = await store.ask(store.corpus_of, context.tenant, vector_store_id)
    await gateway.corpora.drop(corpus)
    return Deleted(id=corpus.id, object="vector_store.deleted")


@router.post(ONE + "/search", response_model=SearchPage)
async def search(body: VectorStoreQuery, http: Request, vector_store_id: str) -> Response:
    """Search a vector store by meaning and by words, and rerank what is found."""
    gateway, context = work_of(http)
    if body.rewrite_query:
        message = "rewrite_query: true is not possible, a query is searched as it is asked"
        raise InvalidRequest(message, param="rewrite_query", code="unsupported_value")
    check_query(body.text, gateway.settings.limits)
    store = gateway.corpora.store
    corpus = await store.ask(store.find, context.tenant, vector_store_id)
    async with gateway.admission.place(context, EMBED):
        found = await _found(gateway, corpus, body, context)
    headers = (
        {"x-tiffin-degraded": ",".join(context.bill.degraded)} if context.bill.degraded else {}
    )
    least = body.ranking_options.score_threshold if body.ranking_options else 0.0
    results = [SearchResult.of(hit, score) for hit, score in found if score >= least]
    answer = SearchPage(search_query=[body.text], data=results[: body.max_num_results])
    return model_answer(answer, headers)


async def _found(
    gateway: Gateway, corpus: Corpus, body: VectorStoreQuery, context: RequestContext
) -> Sequence[tuple[Hit, float]]:
    """What a search finds, best first, each with a score from 0 to 1."""
    clients, ranking = gateway.clients, body.ranking_options
    vectors, tokens = await clients.embedding.embed([body.text], context)
    charge(tokens)
    plain = ranking is not None and ranking.ranker == "none"
    count = body.max_num_results if plain else max(RERANKED, body.max_num_results)
    wanted = Wanted(body.text, vectors[0], count, body.filters)
    if ranking and ranking.hybrid_search:
        wanted = replace(wanted, weights=ranking.hybrid_search.as_pair())
    found = await gateway.corpora.searcher.search(corpus, wanted, context)
    if found.by_words:
        context.bill.degraded.append(OTHER_EMBEDDER)
    hits = found.hits
    if plain or not hits:
        return [(hit, hit.score) for hit in hits]
    texts = [hit.row.quote for hit in hits]
    logits, tokens = await clients.reranker.score(body.text, texts, context)
    charge(tokens)
    scores = np.clip(sigmoid(logits), 0.0, 1.0)
    return [(hits[i], float(scores[i])) for i in best_first(logits)]


def _health_of(store: Store, corpus: Corpus) -> StoreHealth:
    """How it is on disk; blocks. Raises UpstreamFailed if it cannot be read."""
    pending, done = store.records.reembedding(corpus.id), store.records.upkeep(corpus.table)
    try:
        found = store.table(corpus.table).health()
        made = None if pending is None else store.table(pending.table).health()
    except (OSError, RuntimeError, ValueError) as error:  # LanceDB's
        logger.exception("%s cannot be read", corpus.id)
        message = f"the tables of {corpus.id} cannot be read; the log says why"
        raise UpstreamFailed(message) from error
    progress = None
    if pending is not None and made is not None:
        progress = Progress.of(pending, made.chunks)
    return StoreHealth.of(corpus, store.embedder, found, done, progress)


def _days(body: NewVectorStore | VectorStoreChange) -> int | None:
    return None if body.expires_after is None else body.expires_after.days


async def _shown(store: Store, corpus: Corpus) -> VectorStore:
    states, used = await asyncio.to_thread(store.records.counts, corpus.id)
    return VectorStore.of(corpus, states, used)
