"""What the OpenAI routes share: parts of their bodies, and how these become engine values.

A field that changes the answer and that we cannot honour is not declared, or only with the values
that change nothing: any other value is a 400 that names it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from models.values import TokenUsage, Tool
from tiffin.config.requests import LimitSettings
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Items, Value

UNKNOWN_TYPE = "unknown_type"
"""The error's code when the field `type` names no member of a union."""

TOO_DEEP = "too_deep"
"""The error's code when arrays and objects lie too deep inside one another."""

RESERVED_TOOL_NAMES = frozenset({"auto", "none", "required"})
MAX_CHOICES = 16
MAX_STOPS = 4
SEEDS = 2**31
"""Seeds wrap here: engines take 31 bits in common."""

IgnoreEos = Annotated[
    bool | None,
    Field(description="Write up to the limit, past the model's end. To measure an engine."),
]
"""Of vLLM and llama.cpp."""

Stop = Annotated[
    str | Items[str] | None, Field(description="Generation ends before any of these; up to four.")
]
Temperature = Annotated[float | None, Field(ge=0, le=2)]
TopP = Annotated[float | None, Field(gt=0, le=1)]
Penalty = Annotated[float | None, Field(ge=-2, le=2)]
Seed = Annotated[int | None, Field(ge=-(2**63), lt=2**63)]
MaxTokens = Annotated[int | None, Field(ge=1, lt=2**31)]
Choices = Annotated[int | None, Field(ge=1, le=MAX_CHOICES)]
ModelName = Annotated[
    str, Field(description="`auto`, `auto-fast`, `auto-quality`, a tier, or a model's name.")
]
AutoServiceTier = Literal["auto", "default"] | None
Metadata = dict[str, str] | None


def _plain(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """The same JSON object, if an engine can take it.

    Refuses numbers that Python reads and no message carries, and arrays and objects nested deeper
    than the limit if the caller passes limits as the context.
    """
    limits: LimitSettings | None = info.context
    level: list[Any] = [value]
    depth = 1
    while level:
        if limits is not None and depth > limits.nesting:
            raise PydanticCustomError(
                TOO_DEEP,
                "nested deeper than the limit of {limit} levels",
                {"limit": limits.nesting},
            )
        below: list[Any] = []
        for node in level:
            below += node.values() if isinstance(node, dict) else node
        for number in below:
            _check_number(number)
        level = [node for node in below if isinstance(node, dict | list)]
        depth += 1
    return value


def _check_number(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number in JSON")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a number in it does not fit into 64 bits")


JsonObject = Annotated[dict[str, Any], AfterValidator(_plain)]


def _no_bias(value: dict[str, float] | None) -> None:
    if value:
        raise ValueError("no engine here takes it; leave it out, or empty")


LogitBias = Annotated[dict[str, float] | None, AfterValidator(_no_bias)]


def by_type(tags: Mapping[str, str], unsaid: str | None = None) -> Discriminator:
    """Tells the members of a union by the field `type`; `unsaid` is what it is when left out.

    Capital letters keep a tag out of a field's name (`tiffin.api.bodies.field_name`).
    """

    def tag(value: Any) -> str | None:  # noqa: ANN401  JSON, or a value made of it
        if isinstance(value, dict):
            return tags.get(str(value.get("type", unsaid)))
        return tags.get(str(getattr(value, "type", None)))

    known = ", ".join(tags)
    return Discriminator(
        tag, custom_error_type=UNKNOWN_TYPE, custom_error_message=f"must be one of: {known}"
    )


class Sent(Value):
    """A body, or a part of one, that clients send."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class JsonSchema(Sent):
    """A schema that the answer must fit; decoding is constrained to it, `strict` or not."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Sent):
    """The form of the answer: any text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _schema_where_needed(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to type 'json_schema', and is needed there")
        return self

    def constraint(self) -> dict[str, Any] | None:
        """The schema for the engine; `{}` allows any JSON object."""
        if self.type == "text":
            return None
        return (self.json_schema and self.json_schema.schema_) or {}

    @property
    def strict(self) -> bool:
        """Whether providers are to be told to hold to the schema."""
        return bool(self.json_schema and self.json_schema.strict)


class Function(Sent):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None

    def tool(self) -> Tool:
        """As the engine takes it. Raises InvalidRequest for a name that means something else."""
        if self.name in RESERVED_TOOL_NAMES:
            raise InvalidRequest(f"tools: a function cannot be named {self.name!r}", param="tools")
        strict = self.strict is True
        return Tool(self.name, self.description or "", self.parameters or {}, strict)


class StreamOptions(Sent):
    """How to stream. `include_usage` adds a last chunk with the usage and no choices."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[bool | None, Field(description="Nothing is padded here.")] = None
    # Of vLLM, for those who measure: with it, too, the usage comes once, at the end.
    continuous_usage_stats: bool | None = None


class PromptTokensDetails(BaseModel):
    """What the prompt's tokens are made of."""

    cached_tokens: Annotated[int, Field(description="Needed no prefill.")] = 0
    audio_tokens: int = 0


class CompletionTokensDetails(BaseModel, frozen=True):
    """What the answer's tokens are made of. Frozen, so that all answers share the default."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class CompletionUsage(BaseModel):
    """Tokens read and written for all choices together; a prompt counts once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails = CompletionTokensDetails()
    cost: float
    """US dollars, in the field in which OpenRouter and LiteLLM tell them."""


def usage_of(
    usages: dict[int, TokenUsage], usd: float, choices_per_prompt: int = 1
) -> CompletionUsage:
    """The sum over the choices, by their index, and what all attempts cost."""
    prompts = [usage for index, usage in usages.items() if index % choices_per_prompt == 0]
    read = sum(usage.prompt_tokens for usage in prompts)
    written = sum(usage.completion_tokens for usage in usages.values())
    cached = sum(usage.cached_tokens for usage in prompts)
    return CompletionUsage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        cost=usd,
    )


def check_stream_options(options: StreamOptions | None, *, stream: bool | None) -> None:
    """Raise InvalidRequest for the options of a stream if no stream is asked for."""
    if options is not None and not stream:
        raise InvalidRequest("stream_options: needs stream: true", param="stream_options")


def stops(stop: str | list[str] | None) -> list[str]:
    """The stop strings as a list. Raises InvalidRequest for an empty one, or too many."""
    found = [stop] if isinstance(stop, str) else list(stop or ())
    if len(found) > MAX_STOPS or not all(found):
        raise InvalidRequest(f"stop: at most {MAX_STOPS} strings, none of them empty", param="stop")
    return found


def seed_of(seed: int | None, choice: int = 0) -> int | None:
    """A different seed for each choice, because with one seed all would be the same."""
    return None if seed is None else (seed + choice) % SEEDS


def chosen_tool(choice: str | None, function: str | None, tools: Sequence[str]) -> str:
    """The choice for the engine: a mode, or the name of the function that must be called.

    Raises InvalidRequest if there is no such function, or no tool at all where one is required.
    """
    if function is not None:
        if function not in tools:
            message = f"tool_choice: there is no function {function!r} in tools"
            raise InvalidRequest(message, param="tool_choice")
        return function
    if choice == "required" and not tools:
        raise InvalidRequest("tool_choice: 'required' needs tools", param="tool_choice")
    return choice or "auto"
