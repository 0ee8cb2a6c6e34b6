"""Route: which tier should answer. Runs beside search and rerank, and needs only the embedding."""

from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, RouteRequest
from tiffin.core.text import estimate_tokens
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage
from tiffin.routing.client import Routing


class Route(Stage):
    """Without the Router service, `Routing` itself decides by the policy alone, and says so."""

    name = "route"
    degraded = "router"

    def __init__(self, routing: Routing) -> None:
        super().__init__(0)
        self._routing = routing

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write the decision. Raises what the policy raises when no tier may answer."""
        question.decision = await self._routing.route(_ask(question), context)
        if question.decision.degraded:
            question.degraded.append(self.degraded)


def _ask(question: Question) -> RouteRequest:
    """What the router is asked. The prompt is estimated at that of the longest passages."""
    request = question.request
    lengths = sorted((len(passage.text) for passage in question.passages), reverse=True)
    return RouteRequest(
        request.query,
        request.model,
        vector=None if question.vectors is None else Array.of(question.vectors[0]),
        prompt_tokens=estimate_tokens(len(request.query) + sum(lengths[: question.top_n])),
        max_tokens=question.max_tokens,
        whole=not request.stream,
    )
