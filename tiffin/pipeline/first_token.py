"""Judges by the first token that a tier would write: yes or no, or the letter of an option.

`tiffin.pipeline.decisions` calls it, and shares its values. A model leans to some answers whatever
it reads, so each answer is weighed by how much likelier the input makes it: the same question is
asked of no input too (Zhao et al. 2021, "Calibrate before use").
"""

import math
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace

from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenLogprob,
    TokenUsage,
)
from tiffin.core.context import NO_USAGE, RequestContext
from tiffin.core.errors import NO_TIER_SATISFIES, InvalidRequest
from tiffin.core.values import Value
from tiffin.grounding.questions import asks
from tiffin.pipeline.writing import Head, Piece

TOP_TOKENS = 20
"""So many of the likeliest tokens an engine tells."""

LETTERS = "ABCDEFGHIJKLMNOPQRST"
"""More options than these are asked in groups."""

YES_NO = ("Yes", "No")
LEAST_SHARE = 0.05
"""A model that gives all the answers together less than this would say something else."""

NOTHING = "N/A"
"""Stands in for the input when a tier is asked for its leanings."""

LEAST_LEANING = 1e-3
"""Added to a leaning, so that an answer that a model never leans to does not win by noise."""


class Basis(Value):
    """What stands behind an answer.

    `share` is the probability that the model gave to all the possible answers together, before they
    were made to sum to 1; a low one says that the model did not take the question as meant.
    """

    by: Literal["provider", "answerability", "reranker", "next_token"]
    model: str
    share: float | None = None


class Asked(msgspec.Struct, frozen=True):
    """A question in words, with the options in words; without options it is a predicate.

    `scale` says that the options are levels.
    """

    text: str
    options: Sequence[str] = ()
    scale: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it asks for more than a yes or no, so that the input answers it or does not."""
        return not self.scale and _is_question(self.text) and asks(self.text) != "yes-no"


class Judged(msgspec.Struct, frozen=True):
    """The probability of each option, or the one of a predicate; none if the model refuses."""

    probabilities: list[float]
    basis: Basis
    usage: TokenUsage = NO_USAGE
    tier: str = ""


class Written(NamedTuple):
    """What a tier wrote, and who did."""

    head: Head
    text: str
    tokens: list[TokenLogprob]
    usage: TokenUsage


class Stream(Protocol):
    """`ChatPipeline.stream`."""

    def __call__(
        self,
        model: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        *,
        whole: bool,
    ) -> AsyncGenerator[Head | Piece, None]:
        """Yield the head, then the pieces."""
        ...


@dataclass(frozen=True)
class FirstToken:
    """Holds no state of a request. `stream` writes, `tiers` are those that can be named."""

    stream: Stream
    tiers: Collection[str]

    async def judge(self, lane: str, text: str, asked: Asked, context: RequestContext) -> Judged:
        """The probabilities that a tier, or one that a policy chooses, gives to the answers."""
        if not asked.options:
            said = await self._weighed(lane, text, (asked.text, YES_NO), context)
            return replace(said, probabilities=said.probabilities[:1])
        count = -(-len(asked.options) // len(LETTERS))
        groups = [part.tolist() for part in np.array_split(np.arange(len(asked.options)), count)]
        rounds: list[Judged] = []
        for group in groups:
            options = [asked.options[index] for index in group]
            lines = [
                f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)
            ]
            question = "\n".join([asked.text, *lines])
            said = await self._weighed(lane, text, (question, LETTERS[: len(group)]), context)
            if not said.probabilities:
                return said
            rounds.append(said)
            lane = said.tier
        return rounds[0] if count == 1 else await self._final(text, asked, groups, rounds, context)

    async def _final(
        self,
        text: str,
        asked: Asked,
        groups: Sequence[Sequence[int]],
        rounds: Sequence[Judged],
        context: RequestContext,
    ) -> Judged:
        """All options: each group's shares, times that of its best option among the best."""
        best = [
            asked.options[group[int(np.argmax(said.probabilities))]]
            for group, said in zip(groups, rounds, strict=True)
        ]
        final = await self.judge(rounds[0].tier, text, Asked(asked.text, best), context)
        shares = [
            share * among
            for said, among in zip(rounds, final.probabilities, strict=False)  # none if it refuses
            for share in said.probabilities
        ]
        usage = sum_of([final.usage, *(said.usage for said in rounds)])
        return replace(final, probabilities=shares, usage=usage)

    async def _weighed(
        self, lane: str, text: str, asked: tuple[str, Sequence[str]], context: RequestContext
    ) -> Judged:
        """How much likelier the text makes each label as the first token; they sum to 1."""
        question, labels = asked
        with_it = await self.write(lane, _request(prompt(text, question, labels)), context)
        head, shares = with_it.head, shares_of(labels, with_it.tokens)
        basis = Basis(by="next_token", model=head.model, share=round(min(1.0, sum(shares)), 4))
        if sum(shares) < LEAST_SHARE:
            return Judged([], basis, with_it.usage, head.tier)
        request = _request(prompt(NOTHING, question, labels))
        without = await self.write(head.tier, request, context)
        leanings = shares_of(labels, without.tokens)
        gains = [
            share / (lean + LEAST_LEANING) for share, lean in zip(shares, leanings, strict=True)
        ]
        likely = [gain / sum(gains) for gain in gains]
        return Judged(likely, basis, sum_of([with_it.usage, without.usage]), head.tier)

    async def write(self, lane: str, request: GenerateRequest, context: RequestContext) -> Written:
        """A tier's whole answer. Raises InvalidRequest, which names the client's field."""
        head, text, usage = Head("", ""), "", NO_USAGE
        tokens: list[TokenLogprob] = []
        try:
            async with aclosing(self.stream(lane, [request], context, whole=True)) as events:
                async for event in events:
                    if isinstance(event, Head):
                        head = event
                    elif isinstance(event.event, TextDelta):
                        text += event.event.text
                        tokens += event.event.logprobs
                    elif isinstance(event.event, Finished):
                        usage = event.event.usage
        except InvalidRequest as error:
            lacks = error.param == "logprobs" or error.code == NO_TIER_SATISFIES
            param = "model" if lacks else error.param or "input"
            raise type(error)(error.message, param=param, code=error.code) from error
        return Written(head, text, tokens, usage)


def prompt(text: str, question: str, labels: Sequence[str]) -> str:
    """What a tier reads. The text comes first, so that its cache serves all questions about it."""
    kind = "Question" if _is_question(question.partition("\n")[0]) else "Statement or task"
    form = "one word, Yes or No" if labels == YES_NO else "the letter of one option"
    return (
        "Read the text and judge the statement or question about it.\n\n"
        f"Text:\n{text}\n\n{kind}: {question}\n\nAnswer with {form}."
    )


def shares_of(labels: Sequence[str], tokens: Sequence[TokenLogprob]) -> list[float]:
    """The probability of each label as the first token, however it is spaced and capitalised."""
    if not tokens:
        return [0.0] * len(labels)
    said: dict[str, float] = {}
    for token, logprob in {one.token: one.logprob for one in (tokens[0], *tokens[0].top)}.items():
        label = token.strip().casefold()
        said[label] = said.get(label, 0.0) + math.exp(logprob)
    return [said.get(label.casefold(), 0.0) for label in labels]


def sum_of(usages: Sequence[TokenUsage]) -> TokenUsage:
    """All of them together."""
    return TokenUsage(
        prompt_tokens=sum(one.prompt_tokens for one in usages),
        completion_tokens=sum(one.completion_tokens for one in usages),
        cached_tokens=sum(one.cached_tokens for one in usages),
    )


def _request(text: str) -> GenerateRequest:
    turn = ChatMessage("user", text)
    return GenerateRequest(messages=[turn], max_tokens=1, logprobs=TOP_TOKENS)


def _is_question(text: str) -> bool:
    return text.strip().endswith(("?", "？"))  # noqa: RUF001  full-width
