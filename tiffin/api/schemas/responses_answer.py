"""What `/v1/responses` answers, whole and as the events of a stream, as OpenAI publishes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tiffin.api.schemas.logprobs import EventLogprob, Logprob
from tiffin.api.schemas.moderation_field import ResponseModeration
from tiffin.api.schemas.openai import absent
from tiffin.api.schemas.responses import NamedFunction, ResponsesTool, Status, TextOptions


class OutputText(BaseModel):
    """The text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[Logprob] = []


class OutputMessage(BaseModel):
    """The model's turn."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: Status
    content: list[OutputText]


class OutputCall(BaseModel):
    """A call that the model asks for; answer it with a `function_call_output`."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status


OutputItem = OutputMessage | OutputCall


class InputTokensDetails(BaseModel):
    """What the input's tokens are made of."""

    cached_tokens: Annotated[int, Field(description="Needed no prefill.")] = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(BaseModel, frozen=True):
    """What the output's tokens are made of."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int
    cost: float
    """US dollars."""


class IncompleteDetails(BaseModel):
    """Why the answer was cut."""

    reason: Literal["max_output_tokens", "content_filter"]


class Response(BaseModel):
    """The answer so far; whole when `status` is not `in_progress`."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    background: Literal[False] = False
    error: None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    moderation: Annotated[ResponseModeration | None, Field(exclude_if=absent)] = None
    parallel_tool_calls: bool
    previous_response_id: None = None
    service_tier: Literal["default"] = "default"
    store: Literal[False] = False
    temperature: float
    text: TextOptions
    tool_choice: Literal["none", "auto", "required"] | NamedFunction
    tools: list[ResponsesTool]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"] = "disabled"
    usage: Annotated[ResponseUsage | None, Field(exclude_if=absent)] = None
    user: Annotated[str | None, Field(exclude_if=absent)] = None


class ResponseEvent(BaseModel):
    """One event of a stream; which fields it has follows from its type."""

    type: str
    sequence_number: int
    response: Annotated[Response | None, Field(exclude_if=absent)] = None
    output_index: Annotated[int | None, Field(exclude_if=absent)] = None
    content_index: Annotated[int | None, Field(exclude_if=absent)] = None
    item_id: Annotated[str | None, Field(exclude_if=absent)] = None
    item: Annotated[OutputItem | None, Field(exclude_if=absent)] = None
    part: Annotated[OutputText | None, Field(exclude_if=absent)] = None
    delta: Annotated[str | None, Field(exclude_if=absent)] = None
    text: Annotated[str | None, Field(exclude_if=absent)] = None
    name: Annotated[str | None, Field(exclude_if=absent)] = None
    arguments: Annotated[str | None, Field(exclude_if=absent)] = None
    logprobs: Annotated[list[EventLogprob] | None, Field(exclude_if=absent)] = None
