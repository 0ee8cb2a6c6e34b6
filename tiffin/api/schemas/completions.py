"""The bodies of `/v1/completions`, as OpenAI publishes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from models.values import FinishReason
from tiffin.api.schemas.openai import (
    Choices,
    CompletionUsage,
    IgnoreEos,
    LogitBias,
    MaxTokens,
    ModelName,
    Penalty,
    Seed,
    Sent,
    Stop,
    StreamOptions,
    Temperature,
    TopP,
)
from tiffin.core.ranking import absent
from tiffin.core.values import CacheSwitch, Items

Token = Annotated[int, Field(ge=0, lt=2**31)]
MAX_PROMPTS = 64


class CompletionRequest(Sent):
    """Text to continue as it stands, without a chat template; of a list, each prompt."""

    model: ModelName
    prompt: Annotated[
        str | Items[str] | Items[Token] | Items[Items[Token]],
        Field(description="Text or tokens, or a list of either."),
    ]
    max_tokens: MaxTokens = 16
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    n: Choices = 1
    stop: Stop = None
    seed: Seed = None
    logprobs: Annotated[int | None, Field(ge=0, le=5)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    ignore_eos: IgnoreEos = None
    cache: CacheSwitch = None
    # Only the values that ask for what is done anyway.
    best_of: Annotated[int | None, Field(ge=1, description="1, or as many as `n`.")] = None
    echo: Literal[False] | None = None
    suffix: Literal[""] | None = None
    logit_bias: LogitBias = None


class CompletionLogprobs(BaseModel):
    """One entry a token; `text_offset` counts characters from the beginning of the text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One answer, or in a stream its next piece."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None


class Completion(BaseModel):
    """The whole answer, or in a stream its next piece."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Annotated[CompletionUsage | None, Field(exclude_if=absent)] = None
