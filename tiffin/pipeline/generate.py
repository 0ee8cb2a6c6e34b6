"""Asks the chosen tier for the answer, and the next one when it cannot begin. Last hop."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from models.values import GenerateRequest, TokenEvent
from tiffin.context import RequestContext
from tiffin.errors import Overloaded, TiffinError, UpstreamFailed
from tiffin.transport.clients import LLMClient
from tiffin.transport.messages import RouteDecision


@dataclass(frozen=True)
class Begun:
    """A tier that began to answer: its first event, and the rest, which the caller must close."""

    tier: str
    first: TokenEvent
    rest: AsyncGenerator[TokenEvent, None]


@dataclass(frozen=True)
class Generator:
    """The LLM tiers by name."""

    tiers: Mapping[str, LLMClient]

    async def begin(
        self, decision: RouteDecision, request: GenerateRequest, context: RequestContext
    ) -> Begun:
        """Ask the tiers in order until one begins.

        A tier that fails before its first event is passed over for the next. One that fails later
        ends the stream with its error: the client has already read a part of the answer.
        """
        failure: TiffinError = UpstreamFailed("there is no tier to ask")
        for tier in (decision.tier, *decision.fallbacks):
            events = self.tiers[tier].generate(request, context)
            try:
                return Begun(tier, await anext(events), events)
            except StopAsyncIteration:
                failure = UpstreamFailed(f"the {tier} tier ended without an answer")
            except (Overloaded, UpstreamFailed) as error:
                failure = error
        raise failure
