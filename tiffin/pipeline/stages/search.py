"""Search: the passages that may answer, of the documents given, of a corpus, or of both."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import Any

from tiffin.core.context import RequestContext
from tiffin.core.errors import Unavailable
from tiffin.core.scores import best_first
from tiffin.core.values import Document
from tiffin.corpus.hybrid import Hit, Wanted
from tiffin.corpus.search import OTHER_EMBEDDER, Searcher
from tiffin.corpus.store import Store
from tiffin.pipeline.lexical import overlap
from tiffin.pipeline.passages import Passage
from tiffin.pipeline.question import Candidate, Question
from tiffin.pipeline.stage import Stage
from tiffin.telemetry import genai


class Search(Stage):
    """Exact over the passages of the request, by cosine similarity or by shared words.

    A corpus is searched by meaning and by words; only by words without the embedding, or if another
    embedder than the server's made its vectors, which `degraded` says. Of several
    corpora, the passages in the best places of each come first. If documents are given too, the
    best passages of both alternate, and the reranker decides. Passages with the same words count
    once, so that they take no place from others.
    """

    name = "search"
    degraded = "search"

    def __init__(self, store: Store, searcher: Searcher, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._store = store
        self._searcher = searcher

    async def run(self, question: Question, _: RequestContext) -> None:
        """Write the `top_k` best candidates, best first. Raises NotFound for no such corpus.

        Nothing stands in for a corpus, so its search may use the time of the later stages.
        """
        given = _given(question)
        stored = await self._stored(question, question.context)
        both = chain.from_iterable(zip_longest(given, stored))
        question.candidates = [one for one in both if one is not None][: question.top_k]
        if not question.candidates:
            question.probability = 0.0

    def attributes(self, question: Question) -> dict[str, Any]:
        """A retrieval, by the conventions."""
        return genai.retrieval(question.request.corpora, question.top_k)

    def substitute(self, question: Question) -> None:
        """There is none for a corpus: an answer without it would be another one."""
        if named := question.request.corpora:
            raise Unavailable(f"corpus: {', '.join(named)} cannot be searched just now")

    async def _stored(self, question: Question, context: RequestContext) -> list[Candidate]:
        request, vectors = question.request, question.vectors
        store, tenant = self._store, context.tenant
        named = [await store.ask(store.find, tenant, reference) for reference in request.corpora]
        question.corpora = named
        vector = None if vectors is None else vectors[0]
        wanted = Wanted(request.query, vector, question.top_k, request.filters)
        if request.ranking_options and (weights := request.ranking_options.hybrid_search):
            wanted = replace(wanted, weights=weights.as_pair())
        found = await asyncio.gather(
            *(self._searcher.search(corpus, wanted, context) for corpus in named)
        )
        if any(one.by_words for one in found):
            question.degraded.append(OTHER_EMBEDDER)
        hits = chain.from_iterable(one.hits for one in found)
        ranked = sorted(hits, key=lambda hit: -hit.score)
        candidates = [_candidate(hit) for hit in ranked]
        once = _once([one.passage for one in candidates], range(len(candidates)))
        return [candidates[i] for i in once]


def _given(question: Question) -> list[Candidate]:
    vectors, passages = question.vectors, question.passages
    if not passages:
        return []
    if vectors is None:
        similarity = overlap(question.request.query, [passage.text for passage in passages])
    else:
        similarity = vectors[1:] @ vectors[0]
    return [
        Candidate(passages[i], question.documents[passages[i].document or 0], float(similarity[i]))
        for i in islice(_once(passages, best_first(similarity)), question.top_k)
    ]


def _candidate(hit: Hit) -> Candidate:
    row = hit.row
    return Candidate(
        Passage(None, row.start, row.end, row.quote),
        Document(text=row.quote, id=row.file, title=hit.name),
        hit.similarity,
        row.page,
        row.headings,
        attributes=hit.attributes,
    )


def _once(passages: Sequence[Passage], order: Iterable[int]) -> Iterator[int]:
    seen = set()
    for index in order:
        said = " ".join(passages[index].text.split()).casefold()
        if said not in seen:
            seen.add(said)
            yield index
