"""The settings of requests: what holds when one says nothing, and what none may exceed."""

from typing import Annotated

from pydantic import Field

from tiffin.config.section import Count, Section


class RagSettings(Section):
    """The pipeline's defaults; a request may choose otherwise."""

    top_k: Annotated[int, Field(ge=1, le=100, description="Passages that are reranked.")] = 10
    top_n: Annotated[int, Field(ge=1, le=20, description="Passages that the model reads.")] = 3
    max_answer_tokens: Annotated[
        int, Field(ge=1, le=4096, description="Longest answer of a request that says nothing.")
    ] = 160
    deadline_ms: Annotated[int, Field(ge=100, le=600_000, description="For a whole request.")] = (
        5000
    )


class ChatSettings(Section):
    """The OpenAI routes that generate: /v1/chat/completions, /v1/completions, /v1/responses."""

    deadline_ms: Annotated[
        int, Field(ge=100, le=600_000, description="For a whole answer; a request may set its own.")
    ] = 300_000


class LimitSettings(Section):
    """What a request may not exceed."""

    header_bytes: Annotated[
        int, Field(ge=1024, description="All header lines of a request together.")
    ] = 32 * 1024
    nesting: Annotated[
        Count, Field(description="Arrays and objects inside one another, in a schema.")
    ] = 32
    body_bytes: Annotated[int, Field(ge=1024, description="Of a whole request.")] = 16 * 1024 * 1024
    receive_ms: Annotated[
        int,
        Field(ge=100, le=600_000, description="For a request to come whole, headers and body."),
    ] = 60_000
    send_ms: Annotated[
        int,
        Field(
            ge=100,
            le=600_000,
            description="For a client to read on when more than 64 KiB of an answer wait for it.",
        ),
    ] = 60_000
    query_chars: Annotated[Count, Field(description="Characters of the question.")] = 8000
    messages: Annotated[Count, Field(description="Turns of a conversation.")] = 2048
    prompt_chars: Annotated[
        Count, Field(description="Of a conversation or a prompt; a token may have many.")
    ] = 1_000_000
    documents: Annotated[Count, Field(description="Documents given with a question.")] = 1000
    document_chars: Annotated[Count, Field(description="Characters of each document.")] = 200_000
    inputs: Annotated[Count, Field(description="Texts of one request to embed.")] = 2048
    input_tokens: Annotated[Count, Field(description="Ids in one token array.")] = 8192
    concurrency: Annotated[
        Count,
        Field(description="Questions in work at once; at most twice that while stages share it."),
    ] = 64
