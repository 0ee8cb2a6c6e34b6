"""The settings of requests: the defaults, and the limits that no request may exceed."""

from typing import Annotated

from pydantic import Field

from tiffin.config.section import Count, Section
from tiffin.core.values import Grounding, Prefer


class RagSettings(Section):
    """Defaults of the RAG pipeline; a request may override them."""

    top_k: Annotated[int, Field(ge=1, le=100)] = 10
    """Passages to rerank."""
    top_n: Annotated[int, Field(ge=1, le=20)] = 3
    """Passages to give to the LLM."""
    prefer: Prefer = "write"
    """What answers if the request names no tier: verbatim sentences of the documents (`quote`), an
    LLM that reads them (`write`), or the sentences if they are decisive and else an LLM
    (`decisive`)."""
    grounding: Grounding = "strict"
    """`strict` refuses what the documents do not answer, and replaces or leaves out sentences that
    they do not support; `mark` says so; `off` checks nothing."""
    false_refusals: Annotated[float, Field(ge=0, le=0.2)] = 0.05
    """Share of answerable questions that may be refused."""
    confirm: str | None = None
    """A tier whose LLM says whether the evidence answers, if that alone does not settle it."""
    max_answer_tokens: Annotated[int, Field(ge=1, le=4096)] = 160
    """Longest answer, unless the request sets a limit."""
    deadline_ms: Annotated[int, Field(ge=100, le=600_000)] = 5000
    """Deadline of a request; a request may set its own."""


class ChatSettings(Section):
    """The OpenAI routes that generate: /v1/chat/completions, /v1/completions, /v1/responses."""

    deadline_ms: Annotated[int, Field(ge=100, le=600_000)] = 300_000
    """Deadline of an answer; a request may set its own."""


class LimitSettings(Section):
    """What a request may not exceed."""

    header_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    """Total size of a request's headers."""
    nesting: Count = 32
    """Depth of arrays and objects in a JSON schema."""
    body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    """Size of a request's body."""
    file_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Size of a file that is uploaded for a corpus."""
    receive_ms: Annotated[int, Field(ge=100, le=600_000)] = 60_000
    """Time for a request to arrive, with headers and body."""
    send_ms: Annotated[int, Field(ge=100, le=600_000)] = 60_000
    """Time for a client to read on when more than 64 KiB of an answer wait."""
    query_chars: Count = 8000
    """Characters of a question."""
    messages: Count = 2048
    """Turns of a conversation."""
    prompt_chars: Count = 1_000_000
    """Characters of a conversation or a prompt."""
    documents: Count = 1000
    """Documents sent with a question."""
    document_chars: Count = 200_000
    """Characters of one document."""
    inputs: Count = 2048
    """Texts in one embedding request."""
    input_tokens: Count = 8192
    """Token ids in one input."""
    concurrency: Count = 64
    """Requests in flight at once; up to twice that while a slow tier holds its slots."""
