"""What a tier is asked for one word: yes or no, after examples, which its prefix cache keeps.

The stage `confirm` asks it of the evidence, and `recall`, by `tiffin.pipeline.likeness`, of two
questions; `tiffin.pipeline.opinion` brings it to the tier. What counts is not the word but how much
likelier one is than the other.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from models.values import ChatMessage, GenerateRequest, TokenLogprob
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.pipeline.first_token import TOP_TOKENS, YES_NO, shares_of

LEAST_SHARE = 1e-4
"""What a word has that is not among the likeliest."""


class Example(NamedTuple):
    """What a user says, and the right word."""

    asked: str
    word: Literal["Yes", "No"]


class Leans(Protocol):
    """A tier that is asked."""

    async def leaning(
        self, request: GenerateRequest, context: RequestContext, until: Deadline
    ) -> float:
        """How much likelier yes is than no, in logits. Raises what is recoverable if it is late.

        The tier is not blamed for being slower than `until`: it may be in time to write, by the
        context's own deadline.
        """
        ...


def yes_or_no(task: str, examples: Sequence[Example], asked: str) -> GenerateRequest:
    """What the tier reads: the task and the examples, which are always the same, then this."""
    turns = [ChatMessage("system", task)]
    for example in examples:
        turns += [ChatMessage("user", example.asked), ChatMessage("assistant", example.word)]
    return GenerateRequest(
        messages=[*turns, ChatMessage("user", asked)],
        max_tokens=1,
        temperature=0.0,
        logprobs=TOP_TOKENS,
    )


def leaning(tokens: Sequence[TokenLogprob]) -> float:
    """How much likelier yes is than no as the first token, in logits."""
    yes, no = (share + LEAST_SHARE for share in shares_of(YES_NO, tokens))
    return math.log(yes / no)
