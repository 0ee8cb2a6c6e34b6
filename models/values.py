"""Plain values that engines take and return.

They are msgspec structs, so `tiffin.transport` sends them between services as they are.
"""

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation; the engine renders turns with the model's own chat template."""

    role: Role
    content: str


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM engine is asked to write.

    `temperature` 0 is greedy decoding. `seed` None lets the engine choose. Generation ends at the
    model's end token, before a `stop` string, or after `max_tokens` tokens.
    """

    messages: list[ChatMessage]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: list[str] = []
    seed: int | None = None
    adapter: str | None = None
    """A LoRA adapter of the tier, by name; None for the model itself."""


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one generation; `cached_tokens` are the prompt tokens whose prefill was reused."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """The next piece of the answer: whole characters only, never empty."""

    text: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The last event of every generation that was not aborted and did not fail."""

    reason: FinishReason
    usage: TokenUsage


TokenEvent = TextDelta | Finished


class EngineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM engine says of itself: whether it can take work, and how much it holds."""

    ready: bool
    running: int = 0
    detail: str = ""
