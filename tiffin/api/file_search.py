"""`/v1/responses` with the tool `file_search`: the RAG pipeline answers from vector stores.

No model decides whether to search: who names vector stores gets an answer from them. The last turn
of the user is the question. What the pipeline cannot take into account is refused by name, or said
in the answer's header `x-tiffin-degraded`. Called by `tiffin.api.routes.responses`.
"""

from collections.abc import Sequence

from tiffin.api.responses_input import LOGPROBS
from tiffin.api.schemas.file_search import FileSearchTool
from tiffin.api.schemas.responses import InputMessage, ResponsesRequest, TextOptions, text_of
from tiffin.core.errors import InvalidRequest, NotFound
from tiffin.core.values import RagRequest
from tiffin.corpus.store import Store

MAX_TOKENS = 4096
"""The longest answer that the pipeline writes."""

READ = 20
"""The most passages that a model reads."""


def file_search_of(body: ResponsesRequest) -> FileSearchTool | None:
    """The tool, if files are to be searched. Raises InvalidRequest for what it does not go with."""
    tools = body.tools or []
    searches = [tool for tool in tools if isinstance(tool, FileSearchTool)]
    if not searches:
        return None
    if len(tools) > 1:
        message = "tools: file_search must be the only tool of a request"
        raise InvalidRequest(message, param="tools", code="unsupported_value")
    if body.tool_choice == "none":
        return None
    for field, wrong in (
        ("text.format", (body.text or TextOptions()).format.type != "text"),
        ("top_logprobs", body.top_logprobs is not None),
        ("include", LOGPROBS in (body.include or ())),
        ("moderation", body.moderation is not None),
        ("top_p", body.top_p not in {None, 1.0}),
    ):
        if wrong:
            message = f"{field}: not possible with file_search; leave it out"
            raise InvalidRequest(message, param=field, code="unsupported_value")
    return searches[0]


def rag_request(
    body: ResponsesRequest, tool: FileSearchTool, question: str, corpora: list[str], top_k: int
) -> RagRequest:
    """What the pipeline is asked; `top_k` is how many passages it reranks by default."""
    wanted = tool.max_num_results
    return RagRequest(
        query=question,
        corpus=corpora,
        filters=tool.filters,
        ranking_options=tool.ranking_options,
        model=body.model,
        top_k=max(wanted, top_k) if wanted else None,
        max_results=wanted,
        top_n=min(wanted, READ) if wanted else None,
        max_tokens=body.max_output_tokens and min(body.max_output_tokens, MAX_TOKENS),
        temperature=temperature_of(body),
        cache=body.cache,
    )


def note_degraded(headers: dict[str, str], what: Sequence[str]) -> None:
    """Say in the headers what the answer was given without."""
    if what:
        headers["x-tiffin-degraded"] = ",".join(what)


def temperature_of(body: ResponsesRequest) -> float:
    """As it was asked for, and 0 if it was not, as in all answers from documents."""
    said = "temperature" in body.model_fields_set
    return body.temperature if said and body.temperature is not None else 0.0


def question_of(body: ResponsesRequest) -> tuple[str, list[str]]:
    """The last turn of the user, and what beside it is not read. Raises InvalidRequest."""
    unread = ["instructions"] if body.instructions else []
    if isinstance(body.input, str):
        return body.input, unread
    turns = [turn for turn in body.input if isinstance(turn, InputMessage)]
    asked = next((turn for turn in reversed(turns) if turn.role == "user"), None)
    text = "" if asked is None else text_of(asked.content).strip()
    if not text:
        raise InvalidRequest("input: there is no question of the user in it", param="input")
    if any(turn.role in {"system", "developer"} for turn in turns) and not unread:
        unread.append("instructions")
    if any(turn is not asked and turn.role in {"user", "assistant"} for turn in turns):
        unread.append("conversation")
    return text, unread


def ids_of(store: Store, tenant: str, references: list[str]) -> list[str]:
    """The ids of these vector stores.

    Raises NotFound and InvalidRequest, which name the field, for one that the tenant does not have
    or that cannot be searched.
    """
    found = []
    for number, reference in enumerate(references):
        try:
            found.append(store.find(tenant, reference).id)
        except (NotFound, InvalidRequest) as error:
            field = f"tools[0].vector_store_ids[{number}]"
            message = error.message.replace("corpus:", f"{field}:", 1)
            raise type(error)(message, param=field, code=error.code) from error
    return found
