"""What clients send to `/v1/responses`, as OpenAI publishes it.

Nothing is stored: the conversation is the client's. What it gets in `output` it may send back in
`input`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from tiffin.api.schemas.moderation_field import ModerationField
from tiffin.api.schemas.openai import (
    AutoServiceTier,
    Function,
    JsonObject,
    MaxTokens,
    Metadata,
    ModelName,
    Sent,
    Temperature,
    TopP,
    absent,
    by_type,
)
from tiffin.core.values import CacheSwitch, Items

Status = Literal["in_progress", "completed", "incomplete"]


class TextContent(Sent):
    """Text. No model here reads images, sound or files."""

    type: Literal["input_text", "output_text", "refusal"]
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    parsed: Any = None

    @model_validator(mode="after")
    def _has_its_text(self) -> "TextContent":
        field = "refusal" if self.type == "refusal" else "text"
        if getattr(self, field) is None:
            raise ValueError(f"type {self.type!r} needs its {field}")
        return self


class InputMessage(Sent):
    """A turn of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Items[TextContent]
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class InputCall(Sent):
    """A call that the model made; `arguments` is JSON text."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None
    parsed_arguments: Any = None


class InputCallOutput(Sent):
    """What the called function gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | Items[TextContent]
    id: str | None = None
    status: Status | None = None


class InputReasoning(Sent):
    """Thoughts of another model. No model here reads them, so they are left out of the prompt."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[Any] | None = None
    content: list[Any] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class InputReference(Sent):
    """An item by the id that it had in an earlier answer. Nothing is stored, so none is found."""

    type: Literal["item_reference"]
    id: str

    @model_validator(mode="after")
    def _nothing_is_stored(self) -> "InputReference":
        raise ValueError(
            f"item_reference {self.id!r} cannot be read, because no answer is stored here: send the"
            " item itself, or ask your client to store nothing (`store: false`)"
        )


InputItem = Annotated[
    Annotated[InputMessage, Tag("Message")]
    | Annotated[InputCall, Tag("Call")]
    | Annotated[InputCallOutput, Tag("CallOutput")]
    | Annotated[InputReasoning, Tag("Reasoning")]
    | Annotated[InputReference, Tag("Reference")],
    by_type(
        {
            "message": "Message",
            "function_call": "Call",
            "function_call_output": "CallOutput",
            "reasoning": "Reasoning",
            "item_reference": "Reference",
        },
        unsaid="message",
    ),
]


class Reasoning(Sent):
    """How to think. No model here takes an effort; a summary of no thoughts is none."""

    effort: Literal["none"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class TextFormat(Sent):
    """The form of the answer; decoding is constrained to the schema, `strict` or not."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Annotated[str | None, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$", exclude_if=absent)] = None
    description: Annotated[str | None, Field(exclude_if=absent)] = None
    schema_: Annotated[JsonObject | None, Field(alias="schema", exclude_if=absent)] = None
    strict: Annotated[bool | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _schema_where_needed(self) -> "TextFormat":
        if self.type == "json_schema" and (self.schema_ is None or self.name is None):
            raise ValueError("type 'json_schema' needs a name and a schema")
        return self

    def constraint(self) -> dict[str, Any] | None:
        """The schema for the engine; `{}` allows any JSON object."""
        return None if self.type == "text" else self.schema_ or {}


class TextOptions(Sent):
    """How the text should be."""

    format: TextFormat = TextFormat()
    verbosity: Literal["medium"] | None = None


class ResponsesTool(Function):
    """A function that the model may call. No tool runs here."""

    type: Literal["function"]


class NamedFunction(Sent):
    """The function that must be called."""

    type: Literal["function"]
    name: str


class ResponsesStreamOptions(Sent):
    """Nothing is padded here, whatever this says."""

    include_obfuscation: bool | None = None


Included = Literal["message.output_text.logprobs", "reasoning.encrypted_content"]
"""More that answers may have. They have no thoughts, so those change nothing."""


class ResponsesRequest(Sent):
    """A conversation, or one question, to answer."""

    model: ModelName
    input: Annotated[
        str | Items[InputItem], Field(min_length=1, description="A question, or all turns so far.")
    ]
    instructions: Annotated[str | None, Field(description="A system turn before the rest.")] = None
    max_output_tokens: MaxTokens = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    include: Items[Included] | None = None
    text: TextOptions | None = None
    tools: Items[ResponsesTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    cache: CacheSwitch = None
    # Change nothing about the answer.
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Metadata = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    max_tool_calls: Annotated[
        int | None, Field(ge=1, description="Of tools that run here: there are none.")
    ] = None
    # Only the values that ask for what is done anyway.
    store: Annotated[Literal[False] | None, Field(description="Nothing is stored.")] = None
    previous_response_id: Annotated[None, Field(description="Send the turns in `input`.")] = None
    conversation: None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    service_tier: AutoServiceTier = None
    reasoning: Reasoning | None = None
    prompt: None = None
    moderation: ModerationField | None = None
    context_management: None = None
