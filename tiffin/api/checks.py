"""What routes hold a request to before any model runs; each refusal names its field.

What a body can be is in `tiffin.api.schemas`; how large a request may be before its body is parsed,
in `tiffin.api.middleware.limits`.
"""

from collections.abc import Iterable, Sequence

from models.values import GenerateRequest
from tiffin.config.requests import LimitSettings
from tiffin.core.errors import FieldTooLarge, InvalidRequest, NotFound
from tiffin.core.values import RagRequest


def check_model(asked: str | None, served: str) -> None:
    """Raise NotFound for another model than the one served; none named is that one."""
    if asked is not None and asked != served:
        message = f"model: {asked!r} is not served by this route; use {served}"
        raise NotFound(message, param="model", code="model_not_found")


def check_dimensions(asked: int | None, width: int) -> None:
    """Raise InvalidRequest for vectors of another length than the model's."""
    if asked is not None and asked != width:
        message = f"dimensions: {asked} is not possible, this model's vectors have {width}"
        raise InvalidRequest(message, param="dimensions", code="unsupported_value")


def check_rag_request(request: RagRequest, limits: LimitSettings) -> None:
    """Raise FieldTooLarge for the first field over its limit, InvalidRequest for a missing one."""
    if not request.documents and request.corpus is None:
        message = "documents: give documents to answer from, or name a corpus"
        raise InvalidRequest(message, param="documents", code="missing")
    _check("query", len(request.query), limits.query_chars, "characters")
    _check("documents", len(request.documents), limits.documents, "documents")
    for index, document in enumerate(request.documents):
        text, name = (
            (document, f"documents[{index}]")
            if isinstance(document, str)
            else (document.text, f"documents[{index}].text")
        )
        _check(name, len(text), limits.document_chars, "characters")


def check_query(query: str, limits: LimitSettings, field: str = "query") -> None:
    """Raise FieldTooLarge for a query over its limit."""
    _check(field, len(query), limits.query_chars, "characters")


def check_documents(documents: Sequence[str], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for too many documents, or the first that is too long."""
    _check(field, len(documents), limits.documents, "documents")
    for index, document in enumerate(documents):
        _check(f"{field}[{index}]", len(document), limits.document_chars, "characters")


def check_inputs(inputs: Sequence[str | list[int]], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for too many inputs, or the first text or token array too long."""
    _check(field, len(inputs), limits.inputs, "inputs")
    for index, item in enumerate(inputs):
        if isinstance(item, str):
            _check(f"{field}[{index}]", len(item), limits.document_chars, "characters")
        else:
            _check(f"{field}[{index}]", len(item), limits.input_tokens, "tokens")


def check_prompts(requests: Iterable[GenerateRequest], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for more to read than a model may be asked to count the tokens of."""
    for request in requests:
        messages = request.messages
        _check(field, len(messages), limits.messages, "messages")
        size = sum(len(message.content) for message in messages) + len(request.prompt or "")
        unit = "tokens" if isinstance(request.prompt, list) else "characters"
        _check(field, size, limits.prompt_chars, unit)


def _check(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        message = f"{field}: {size:,} {unit}, the limit is {limit:,}"
        raise FieldTooLarge(message, param=field, code="too_long")
