"""A tier that leans to yes or no, for the settings that ask one for its opinion."""

import math
from collections.abc import AsyncGenerator

from models.values import (
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
)
from tiffin.core.context import RequestContext
from tiffin.core.errors import TiffinError


class Leaning:
    """Says yes with this probability, or fails; keeps what it was asked."""

    def __init__(self, yes: float) -> None:
        self.yes = yes
        self.error: TiffinError | None = None
        self.read: list[GenerateRequest] = []

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """One word, with the probabilities of both."""
        self.read.append(request)
        if self.error is not None:
            raise self.error
        top = [
            TokenLogprob(word, math.log(share))
            for word, share in (("Yes", self.yes), ("No", 1 - self.yes))
        ]
        yield TextDelta(
            max(top, key=lambda one: one.logprob).token, [TokenLogprob("", -9, [], top)]
        )
        yield Finished("length", TokenUsage(prompt_tokens=90, completion_tokens=1))
