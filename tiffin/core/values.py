"""What the pipeline takes and gives, which is also its shape on the wire (`tiffin.api`)."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.values import FinishReason
from tiffin.core.checks import CheckRun
from tiffin.core.filters import Filter
from tiffin.core.names import AUTO
from tiffin.core.ranking import Ranking

Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True)]
"""A list that a client sends. Its check ends at the first wrong item, because to describe each of
a few million takes a minute and gigabytes."""


class Value(BaseModel):
    """Immutable, and an unknown field is an error: nothing is silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Value):
    """A document to answer from. A plain string stands for one without id and title."""

    text: Annotated[str, Field(description="The document's text; an empty one is read over.")]
    id: Annotated[str | None, Field(description="Yours; comes back in sources.")] = None
    title: Annotated[str | None, Field(description="Shown to the model before the text.")] = None


CacheSwitch = Annotated[
    bool | None,
    Field(
        description="False: answer without the cache. True: keep the answer though it is sampled."
        " None: keep it if temperature is 0 or there is a seed."
    ),
]

QUOTE = "quote"
"""The tier that quotes sentences of the documents. It needs no model."""

MAX_CORPORA = 10

Grounding = Literal["off", "mark", "strict"]
Prefer = Literal["quote", "decisive", "write"]


class RagRequest(Value):
    """A question and what to answer it from: documents, a corpus, or both."""

    query: Annotated[str, Field(min_length=1, description="The question.")]
    documents: Annotated[
        Items[str | Document],
        Field(description="What to answer from; long ones are split into passages."),
    ] = []
    corpus: Annotated[
        Annotated[str, Field(min_length=1)]
        | Annotated[Items[str], Field(min_length=1, max_length=MAX_CORPORA)]
        | None,
        Field(
            description="Name or id of a corpus (a vector store) to answer from, or several, with"
            " the documents or without any.",
        ),
    ] = None
    filters: Annotated[
        Filter | None, Field(description="Which files of the corpus, by their attributes.")
    ] = None
    ranking_options: Annotated[
        Ranking | None,
        Field(description="How the corpus is searched; what scores less is left out."),
    ] = None
    model: Annotated[
        str,
        Field(
            description="A tier's name, `quote` for verbatim sentences without a model, or a"
            " policy's, such as `auto`: then the settings and the router choose."
        ),
    ] = AUTO
    grounding: Annotated[
        Grounding | None,
        Field(
            description="What happens to an answer that the documents do not support: `strict`"
            " refuses, and replaces or leaves out such sentences; `mark` says so; `off` checks"
            " nothing. None: as the settings say."
        ),
    ] = None
    false_refusals: Annotated[
        float | None,
        Field(
            ge=0,
            le=0.2,
            description="Share of answerable questions that may be refused. A higher one refuses"
            " more of those that the documents do not answer.",
        ),
    ] = None
    stream: Annotated[bool, Field(description="Answer with server-sent events.")] = False
    top_k: Annotated[
        int | None, Field(ge=1, le=100, description="Passages that vector search keeps.")
    ] = None
    top_n: Annotated[
        int | None, Field(ge=1, le=20, description="Passages that reach the model.")
    ] = None
    max_results: Annotated[
        int | None,
        Field(ge=1, le=100, description="Passages that an answer may be based on, the best first."),
    ] = None
    max_tokens: Annotated[
        int | None, Field(ge=1, le=4096, description="Longest answer, in tokens.")
    ] = None
    temperature: Annotated[
        float, Field(ge=0, le=2, description="0 always takes the likeliest token.")
    ] = 0.0
    seed: Annotated[int | None, Field(ge=0, lt=2**32, description="For temperature > 0.")] = None
    timeout_ms: Annotated[
        int | None,
        Field(ge=1, le=600_000, description="Deadline of the request; as x-request-timeout-ms."),
    ] = None
    priority: Annotated[
        Literal["interactive", "batch"] | None,
        Field(description="`batch`: nobody waits for it; as x-tiffin-priority."),
    ] = None
    cache: CacheSwitch = None

    @field_validator("ranking_options")
    @classmethod
    def _reranked(cls, ranking: Ranking | None) -> Ranking | None:
        if ranking is not None and ranking.ranker == "none":
            raise ValueError("ranker 'none' is for a search; an answer needs the reranker")
        return ranking

    @property
    def corpora(self) -> list[str]:
        """Names or ids of the corpora to answer from, each once."""
        named = [self.corpus] if isinstance(self.corpus, str) else self.corpus or []
        return list(dict.fromkeys(named))


class Source(Value):
    """A passage that the model was given. Scores run from 0 to 1, best first."""

    index: Annotated[int, Field(description="Its number in the prompt and in citations, from 1.")]
    document: Annotated[
        int | None,
        Field(description="Position of its document in the request, from 0; null in a corpus."),
    ]
    document_id: Annotated[
        str | None, Field(description="The document's id, or that of the corpus' file.")
    ]
    title: Annotated[str | None, Field(description="The document's title, or the file's name.")]
    page: Annotated[
        int | None, Field(description="Page, slide or sheet of the corpus' file, from 1.")
    ] = None
    headings: Annotated[
        list[str], Field(description="The headings above it in the corpus' file.")
    ] = []
    text: str
    start: Annotated[int, Field(description="Where the passage begins in its document.")]
    end: Annotated[int, Field(description="Where it ends, exclusive; both in characters.")]
    score: Annotated[float, Field(description="Relevance by the reranker (sigmoid of its logit).")]
    similarity: Annotated[
        float,
        Field(description="Cosine similarity by the embedding; without it, the words shared."),
    ]
    flags: Annotated[list[str], Field(description="Checks of safety that flagged it.")] = []
    attributes: Annotated[
        dict[str, str | float | bool], Field(description="Those of the corpus' file.")
    ] = {}


class Citation(Value):
    """A part of the answer and the passage that supports it."""

    start: Annotated[
        int,
        Field(description="Where the part begins in the answer, in code points (as in Python)."),
    ]
    end: Annotated[int, Field(description="Where it ends, exclusive, in code points.")]
    start_utf16: Annotated[int, Field(description="`start` in UTF-16 units (as in JavaScript).")]
    end_utf16: Annotated[int, Field(description="`end` in UTF-16 units.")]
    source: Annotated[int, Field(description="`index` of the source.")]
    quote: Annotated[str, Field(description="The sentence of the passage that supports it best.")]
    support: Annotated[
        float, Field(description="Share of the part's words, by weight, that the quote holds.")
    ]


class Contradiction(Value):
    """Two sentences of the evidence that give different figures for the same thing."""

    sources: Annotated[tuple[int, int], Field(description="`index` of the source of each.")]
    quotes: tuple[str, str]


class Usage(Value):
    """Tokens read and written for one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: Annotated[int, Field(description="Prompt tokens that needed no prefill.")]
    embedding_tokens: int
    rerank_tokens: int


class Route(Value):
    """Who answered and why."""

    tier: Annotated[str, Field(description="`quote`: sentences of the documents, without a model.")]
    model: Annotated[str, Field(description="The catalogue's name of the tier's model.")]
    reason: str


class Cost(Value):
    """US dollars, by the prices in the settings."""

    usd: Annotated[float, Field(description="All attempts, the failed ones too.")]
    strongest_usd: Annotated[float, Field(description="The same answer by the strongest tier.")]
    attempts: Annotated[int, Field(description="Times that a tier was asked.")]
    estimated: Annotated[bool, Field(description="A tier told no token counts: ours stand in.")]


class Timings(BaseModel):
    """Milliseconds of each stage, 0 if it did not run. `route_ms` runs beside the others."""

    model_config = ConfigDict(frozen=True, extra="allow")  # a stage of your own adds its field
    __pydantic_extra__: dict[str, float]

    embed_ms: float = 0.0
    search_ms: float = 0.0
    rerank_ms: float = 0.0
    evidence_ms: float = 0.0
    route_ms: float = 0.0
    first_token_ms: Annotated[float, Field(description="From the request to the first text.")]
    generate_ms: Annotated[float, Field(description="From the prompt to the last text.")] = 0.0
    cite_ms: float = 0.0
    total_ms: float

    def stages(self) -> dict[str, float]:
        """Milliseconds by the stage's name."""
        spans = {name.removesuffix("_ms"): span for name, span in self}
        return {name: span for name, span in spans.items() if name not in {"first_token", "total"}}


class RagAnswer(Value):
    """The whole answer; in a stream, its last event."""

    object: Literal["rag.answer"] = "rag.answer"
    id: str
    answer: str
    answered: Annotated[bool, Field(description="False: the documents do not answer it.")] = True
    probability: Annotated[
        float | None,
        Field(description="That the documents answer the question; null if that was not judged."),
    ] = None
    replaced: Annotated[
        int, Field(description="Written sentences without support, for which a quote stands.")
    ] = 0
    removed: Annotated[int, Field(description="Written sentences that were left out.")] = 0
    citations: list[Citation]
    contradictions: Annotated[
        list[Contradiction],
        Field(description="Where the documents disagree about a figure."),
    ] = []
    sources: list[Source]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    route: Route
    cost: Cost
    degraded: Annotated[list[str], Field(description="What was done without; empty when all ran.")]
    checks: Annotated[list[CheckRun], Field(description="The checks of safety that ran.")] = []


class RagSources(Value):
    """First event of a stream: what the answer will be based on."""

    object: Literal["rag.sources"] = "rag.sources"
    id: str
    sources: list[Source]
    route: Route


class RagDelta(Value):
    """The next piece of the answer in a stream."""

    object: Literal["rag.delta"] = "rag.delta"
    text: str
    citations: Annotated[
        list[Citation],
        Field(description="Of the sentences in `text`; with `grounding: off` at the end only."),
    ] = []


class RagStopped(Value):
    """The safety policy has ended the answer; only the RagAnswer comes after it."""

    object: Literal["rag.stopped"] = "rag.stopped"
    reason: Literal["content_filter"] = "content_filter"
    checks: Annotated[list[str], Field(description="The checks that flagged what follows.")]


RagEvent = RagSources | RagDelta | RagStopped | RagAnswer
