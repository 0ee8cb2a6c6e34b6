"""Brings a question for yes or no (`tiffin.pipeline.yes_or_no`) to a tier.

`tiffin.composition` makes one for each setting that names a tier.
"""

from contextlib import aclosing

from models.values import GenerateRequest, TextDelta
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import InvalidRequest, UpstreamFailed
from tiffin.core.messages import RouteDecision
from tiffin.pipeline.generate import Generator
from tiffin.pipeline.yes_or_no import leaning


class Opinion:
    """Of one tier, which tells the probabilities of its tokens. `name` is its circuit breaker's."""

    def __init__(self, generator: Generator, tier: str, name: str) -> None:
        self._generator = generator
        self._name = name
        self._decision = RouteDecision(tier, "is asked for its opinion", [])
        self._breaker = generator.failover.breaker(name)

    async def leaning(
        self, request: GenerateRequest, context: RequestContext, until: Deadline
    ) -> float:
        """As `Leans` says. It is on the bill, but it is not the answer."""
        async with self._breaker.bounded(until.remaining(), f"{self._name}: the tier was late"):
            try:
                begun = await self._generator.begin(self._decision, request, context)
                events = [begun.first]
                async with aclosing(begun.rest) as rest:
                    events += [event async for event in rest]
            except InvalidRequest as error:  # of ours, not of the client's: too long, for instance
                raise UpstreamFailed(f"{self._name}: {error.message}") from error
        self._generator.meter.replaced(begun.running)
        return leaning(
            [one for said in events if isinstance(said, TextDelta) for one in said.logprobs]
        )
