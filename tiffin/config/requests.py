"""The settings of requests: the defaults, and the limits that no request may exceed."""

from typing import Annotated, Literal

from pydantic import Field

from tiffin.config.section import Count, Section
from tiffin.core.values import Grounding


class RagSettings(Section):
    """Defaults of the RAG pipeline; a request may override them."""

    top_k: Annotated[int, Field(ge=1, le=100, description="Passages to rerank.")] = 10
    top_n: Annotated[int, Field(ge=1, le=20, description="Passages to give to the LLM.")] = 3
    prefer: Annotated[
        Literal["quote", "write"],
        Field(
            description="What answers if the request names no tier: verbatim sentences of the"
            " documents, or an LLM that reads them."
        ),
    ] = "write"
    grounding: Annotated[
        Grounding,
        Field(
            description="`strict` refuses what the documents do not answer, and replaces or leaves"
            " out sentences that they do not support; `mark` says so; `off` checks nothing."
        ),
    ] = "strict"
    false_refusals: Annotated[
        float,
        Field(ge=0, le=0.2, description="Share of answerable questions that may be refused."),
    ] = 0.05
    max_answer_tokens: Annotated[
        int, Field(ge=1, le=4096, description="Longest answer, unless the request sets a limit.")
    ] = 160
    deadline_ms: Annotated[
        int,
        Field(ge=100, le=600_000, description="Deadline of a request; a request may set its own."),
    ] = 5000


class ChatSettings(Section):
    """The OpenAI routes that generate: /v1/chat/completions, /v1/completions, /v1/responses."""

    deadline_ms: Annotated[
        int,
        Field(ge=100, le=600_000, description="Deadline of an answer; a request may set its own."),
    ] = 300_000


class LimitSettings(Section):
    """What a request may not exceed."""

    header_bytes: Annotated[
        int, Field(ge=1024, description="Total size of a request's headers.")
    ] = 32 * 1024
    nesting: Annotated[
        Count, Field(description="Depth of arrays and objects in a JSON schema.")
    ] = 32
    body_bytes: Annotated[int, Field(ge=1024, description="Size of a request's body.")] = (
        16 * 1024 * 1024
    )
    receive_ms: Annotated[
        int,
        Field(
            ge=100, le=600_000, description="Time for a request to arrive, with headers and body."
        ),
    ] = 60_000
    send_ms: Annotated[
        int,
        Field(
            ge=100,
            le=600_000,
            description="Time for a client to read on when more than 64 KiB of an answer wait.",
        ),
    ] = 60_000
    query_chars: Annotated[Count, Field(description="Characters of a question.")] = 8000
    messages: Annotated[Count, Field(description="Turns of a conversation.")] = 2048
    prompt_chars: Annotated[
        Count, Field(description="Characters of a conversation or a prompt.")
    ] = 1_000_000
    documents: Annotated[Count, Field(description="Documents sent with a question.")] = 1000
    document_chars: Annotated[Count, Field(description="Characters of one document.")] = 200_000
    inputs: Annotated[Count, Field(description="Texts in one embedding request.")] = 2048
    input_tokens: Annotated[Count, Field(description="Token ids in one input.")] = 8192
    concurrency: Annotated[
        Count,
        Field(
            description="Requests in flight at once; up to twice that while a slow tier holds its"
            " slots."
        ),
    ] = 64
