"""The bodies of `/v1/messages` and `/v1/messages/count_tokens`, as Anthropic publishes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Tag

from tiffin.api.schemas.chat import CacheControl
from tiffin.api.schemas.openai import JsonObject, ModelName, Sent, TopP, absent, by_type
from tiffin.core.values import Items


class TextBlock(Sent):
    """A part of a turn."""

    type: Literal["text"]
    text: str
    citations: list[Any] | None = None
    cache_control: CacheControl = None


class Base64Source(Sent):
    """The image itself."""

    type: Literal["base64"]
    media_type: str
    data: str


class UrlSource(Sent):
    """The image's address."""

    type: Literal["url"]
    url: str


class ImageBlock(Sent):
    """An image in a user's turn, for tiers whose capabilities include vision."""

    type: Literal["image"]
    source: Annotated[
        Annotated[Base64Source, Tag("Base64")] | Annotated[UrlSource, Tag("Url")],
        by_type({"base64": "Base64", "url": "Url"}),
    ]
    cache_control: CacheControl = None


class ToolUse(Sent):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject
    caller: Any = None
    cache_control: CacheControl = None


class ToolResult(Sent):
    """What the called tool gave."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Items[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl = None


class Thought(Sent):
    """Thoughts of another model. No model here reads them, so they are left out of the prompt."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


Block = Annotated[
    Annotated[TextBlock, Tag("Text")]
    | Annotated[ImageBlock, Tag("Image")]
    | Annotated[ToolUse, Tag("Use")]
    | Annotated[ToolResult, Tag("Result")]
    | Annotated[Thought, Tag("Thought")],
    by_type(
        {
            "text": "Text",
            "image": "Image",
            "tool_use": "Use",
            "tool_result": "Result",
            "thinking": "Thought",
            "redacted_thinking": "Thought",
        }
    ),
]


class Turn(Sent):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Items[Block]


class MessagesTool(Sent):
    """A tool that the model may call. No tool runs here."""

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    description: str | None = None
    input_schema: JsonObject
    strict: bool | None = None
    # Change nothing about the answer.
    cache_control: CacheControl = None
    eager_input_streaming: bool | None = None


class MessagesToolChoice(Sent):
    """How tools are used."""

    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(Sent):
    """The schema that the answer must fit."""

    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]


class OutputConfig(Sent):
    """The form of the answer."""

    format: OutputFormat | None = None
    effort: None = None


class Thinking(Sent):
    """Whether to think. `adaptive` leaves it to the model; none here is told how much."""

    type: Literal["disabled", "adaptive"]
    display: str | None = None


class CountRequest(Sent):
    """A conversation whose tokens are counted."""

    model: ModelName
    messages: Annotated[Items[Turn], Field(min_length=1)]
    system: str | Items[TextBlock] | None = None
    tools: Items[MessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None
    output_config: OutputConfig | None = None
    thinking: Thinking | None = None
    cache_control: CacheControl = None


class MessagesRequest(CountRequest):
    """A conversation to continue."""

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)]
    stop_sequences: Items[str] | None = None
    temperature: Annotated[float | None, Field(ge=0, le=1)] = 1.0
    top_p: TopP = 1.0
    stream: bool | None = None
    # Change nothing about the answer.
    metadata: dict[str, Any] | None = None
    # Only the values that ask for what is done anyway.
    top_k: None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard"] | None = None
    container: None = None
    inference_geo: None = None
    context_management: None = None
    diagnostics: None = None
    mcp_servers: Annotated[list[Any] | None, Field(max_length=0)] = None


class AnswerText(BaseModel):
    """Text of the answer."""

    type: Literal["text"] = "text"
    text: str
    citations: None = None


class AnswerUse(BaseModel):
    """A call that the model asks for."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]


class MessageUsage(BaseModel):
    """Tokens; those read from the cache are not among `input_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost: Annotated[float | None, Field(exclude_if=absent)] = None
    """US dollars; told at the end only."""


StopReason = Literal["end_turn", "max_tokens", "tool_use", "refusal"]


class MessageAnswer(BaseModel):
    """The whole answer."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerText | AnswerUse] = []
    stop_reason: StopReason | None = None
    stop_sequence: None = None
    usage: MessageUsage


class TokenCount(BaseModel):
    """Tokens of a conversation; of a provider's model an estimate."""

    input_tokens: int
