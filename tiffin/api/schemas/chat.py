"""The bodies of `/v1/chat/completions`, as OpenAI publishes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Tag, model_validator

from models.values import FinishReason
from tiffin.api.schemas.logprobs import Logprob
from tiffin.api.schemas.moderation_field import ChatModeration, ModerationField
from tiffin.api.schemas.openai import (
    AutoServiceTier,
    Choices,
    CompletionUsage,
    Function,
    IgnoreEos,
    LogitBias,
    MaxTokens,
    Metadata,
    ModelName,
    Penalty,
    ResponseFormat,
    Seed,
    Sent,
    Stop,
    StreamOptions,
    Temperature,
    TopP,
    by_type,
)
from tiffin.core.ranking import absent
from tiffin.core.values import CacheSwitch, Items

CacheControl = Annotated[
    dict[str, Any] | None, Field(description="Prompts are cached anyway; it changes nothing.")
]


class TextPart(Sent):
    """A part of a message. No model here reads sound or files."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl = None


class RefusalPart(Sent):
    """What an answer says in place of a text."""

    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        """What the model reads."""
        return self.refusal


class ImageUrl(Sent):
    """An https address, or the image itself as a `data:` URL in base64."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Sent):
    """An image in a user's turn, for tiers whose capabilities include vision."""

    type: Literal["image_url"]
    image_url: ImageUrl
    cache_control: CacheControl = None


Part = Annotated[
    Annotated[TextPart, Tag("TextPart")]
    | Annotated[RefusalPart, Tag("RefusalPart")]
    | Annotated[ImagePart, Tag("ImagePart")],
    by_type({"text": "TextPart", "refusal": "RefusalPart", "image_url": "ImagePart"}),
]


class CalledFunction(Sent):
    """The function that a call names; `arguments` is JSON text."""

    name: str
    arguments: str


class SentFunction(CalledFunction):
    """The same as OpenAI's client sends it back after it has parsed it."""

    parsed_arguments: Any = None


class SentToolCall(Sent):
    """A call that the model made earlier in the conversation."""

    id: str
    type: Literal["function"] = "function"
    function: SentFunction
    index: Annotated[int | None, Field(description="Where a stream had it.")] = None


class Message(Sent):
    """One turn. Fields that only answers carry are accepted where a client sends an answer back."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Items[Part] | None = None
    name: Annotated[str | None, Field(description="Chat templates here do not show it.")] = None
    tool_calls: Items[SentToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    parsed: Any = None
    id: Annotated[str | None, Field(description="The client's own; it changes nothing.")] = None
    reasoning: Annotated[
        str | None, Field(description="Thoughts of an earlier answer; no template here shows them.")
    ] = None
    reasoning_content: str | None = None
    reasoning_details: list[Any] | None = None
    cache_control: CacheControl = None


class FunctionTool(Sent):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function
    cache_control: CacheControl = None


class FunctionName(Sent):
    """A function by its name."""

    name: str


class NamedTool(Sent):
    """The tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class ChatRequest(Sent):
    """A conversation to continue."""

    model: ModelName
    messages: Annotated[Items[Message], Field(min_length=1)]
    max_tokens: MaxTokens = None
    max_completion_tokens: MaxTokens = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    n: Choices = 1
    stop: Stop = None
    seed: Seed = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    response_format: ResponseFormat | None = None
    tools: Items[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: IgnoreEos = None
    cache: CacheSwitch = None
    # Change nothing about the answer.
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Metadata = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prediction: Annotated[dict[str, Any] | None, Field(description="A hint; not needed here.")] = (
        None
    )
    # Only the values that ask for what is done anyway.
    store: Literal[False] | None = None
    service_tier: AutoServiceTier = None
    modalities: Items[Literal["text"]] | None = None
    logit_bias: LogitBias = None
    reasoning_effort: Literal["none"] | None = None
    verbosity: Literal["medium"] | None = None
    audio: None = None
    functions: None = None
    function_call: None = None
    web_search_options: None = None
    moderation: ModerationField | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> "ChatRequest":
        given = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(given) > 1:
            raise ValueError("max_tokens and max_completion_tokens are one limit; send one of them")
        return self


class Logprobs(BaseModel):
    """Log probabilities of the text beside them."""

    content: list[Logprob]
    refusal: None = None


class AnsweredCall(BaseModel):
    """A call that the model asks for."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AnswerMessage(BaseModel):
    """The model's turn; `content` is null when it only calls tools."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: Annotated[list[AnsweredCall] | None, Field(exclude_if=absent)] = None


class Choice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    moderation: Annotated[ChatModeration | None, Field(exclude_if=absent)] = None
    usage: CompletionUsage


class FunctionDelta(BaseModel):
    """The next piece of a call."""

    name: Annotated[str | None, Field(exclude_if=absent)] = None
    arguments: str


class CallDelta(BaseModel):
    """The next piece of call number `index`; only its first has `id` and a name."""

    index: int
    id: Annotated[str | None, Field(exclude_if=absent)] = None
    type: Annotated[Literal["function"] | None, Field(exclude_if=absent)] = None
    function: FunctionDelta


class Delta(BaseModel):
    """What a chunk adds to the message."""

    role: Annotated[Literal["assistant"] | None, Field(exclude_if=absent)] = None
    content: Annotated[str | None, Field(exclude_if=absent)] = None
    tool_calls: Annotated[list[CallDelta] | None, Field(exclude_if=absent)] = None


class ChunkChoice(BaseModel):
    """What a chunk adds to one answer."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(BaseModel):
    """A piece of the answer. With `include_usage` the last one has the usage and no choices.

    If moderation was asked for, one of the last has its results and no choices.
    """

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    moderation: Annotated[ChatModeration | None, Field(exclude_if=absent)] = None
    usage: Annotated[CompletionUsage | None, Field(exclude_if=absent)] = None
