"""Plain values that engines take and return.

They are msgspec structs, so `tiffin.transport` sends them between services as they are.
"""

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the model asks for; `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class Image(msgspec.Struct, frozen=True):
    """An image as an https address, or, with a `media_type`, as its bytes in base64.

    `detail` says how closely a provider with such a parameter should look: low, high, or auto.
    """

    data: str
    media_type: str | None = None
    detail: str = "auto"


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation; the engine renders turns with the model's own chat template.

    An assistant's turn may have `tool_calls`; a tool's turn answers the call `tool_call_id`. A
    turn with images has its texts and images in order in `parts`, and its text in `content` too.
    """

    role: Role
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    parts: list[str | Image] = []

    @property
    def images(self) -> list[Image]:
        """The images among its parts."""
        return [part for part in self.parts if isinstance(part, Image)]


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is the JSON schema of its arguments.

    The arguments must fit it if the tool is `strict` or must be called.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM engine is asked to write.

    That is the next turn of `messages` or, if there is a `prompt`, the text (or tokens) that follow
    it, without a chat template.

    `temperature` 0 is greedy decoding. `seed` None lets the engine choose. Generation ends at the
    model's end token, before a `stop` string, or after `max_tokens` tokens (None: as many as the
    context holds). `logprobs` asks for that many likeliest alternatives of each token, 0 for the
    chosen one alone. `json_schema` constrains the answer; `{}` allows any JSON object;
    `strict_schema` is for providers that enforce a schema only on request. `tool_choice` is auto,
    none, required, or the name of the tool to call; without `parallel_tool_calls` an answer has at
    most one call.
    """

    messages: list[ChatMessage] = []
    prompt: str | list[int] | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: list[str] = []
    seed: int | None = None
    logprobs: int | None = None
    tools: list[Tool] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    json_schema: dict[str, Any] | None = None
    strict_schema: bool = False
    ignore_eos: bool = False
    """Write on after the model's end token, up to `max_tokens`: for those who measure an engine."""
    adapter: str | None = None
    """A LoRA adapter of the tier, by name; None for the model itself."""
    prompt_cache_key: str | None = None
    """The same for requests that begin alike, so that a provider finds what it kept of them."""
    decision: dict[str, Any] | None = None
    """A body of `/v1/decisions`, for a provider that answers it; no engine does."""


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one generation; `cached_tokens` are the prompt tokens whose prefill was reused.

    `cache_write_tokens` are the prompt tokens that a provider charges for writing to its cache.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token and the natural logarithm of its probability, with its likeliest alternatives."""

    token: str
    logprob: float
    bytes: list[int] = []
    top: list["TokenLogprob"] = []


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """The next piece of the answer: whole characters only, never empty."""

    text: str
    logprobs: list[TokenLogprob] = []


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call"):
    """The next piece of the tool call number `index`: its first piece has `id` and `name`."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The last event of every generation that was not aborted and did not fail."""

    reason: FinishReason
    usage: TokenUsage


TokenEvent = TextDelta | ToolCallDelta | Finished


class EngineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """An LLM engine's report on itself: whether it accepts requests, and how many it has."""

    ready: bool
    running: int = 0
    detail: str = ""
