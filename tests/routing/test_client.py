"""What the entry service asks the Router, and what it does when the Router is away."""

from dataclasses import dataclass, field

from models.values import ChatMessage, GenerateRequest, Image, Tool
from tests.routing.fleets import CHEAP, DEAR, provider, settings_with
from tiffin.clients import RouterClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import TiffinError, Unavailable
from tiffin.core.messages import Array, RouteDecision, RouteRequest
from tiffin.routing.assembly import decider_of
from tiffin.routing.client import Routing, ask_of
from tiffin.routing.complexity import SHIPPED, ComplexityModel
from tiffin.routing.decide import Decider
from tiffin.routing.meter import Meter
from tiffin.traffic.failover import Failover


@dataclass
class FakeRouter(RouterClient):
    """Decides as the Router does, or fails."""

    decider: Decider
    fails: TiffinError | None = None
    asked: list[RouteRequest] = field(default_factory=list)

    async def route(self, request: RouteRequest, _: RequestContext) -> RouteDecision:
        self.asked.append(request)
        if self.fails:
            raise self.fails
        return self.decider.decide(request)


def routing(*, router_fails: TiffinError | None = None) -> tuple[Routing, FakeRouter]:
    settings = settings_with()
    router = FakeRouter(decider_of(settings), router_fails)
    decider = decider_of(settings, with_model=False)
    return Routing(router, decider, Meter(decider.fleet), Failover()), router


def context() -> RequestContext:
    return RequestContext(Deadline.after(5))


async def test_a_question_is_judged_by_its_embedding_and_a_chat_by_its_length() -> None:
    entry, _ = routing()
    chat = await entry.route(RouteRequest("Who built it?", "auto"), context())
    vector = Array.of(ComplexityModel.load(SHIPPED).centres[0])
    question = await entry.route(RouteRequest("Who built it?", "auto", vector), context())
    by = [decision.complexity and decision.complexity.by for decision in (chat, question)]
    assert by == ["length: there is no embedding", "model: embedding and text"]


async def test_without_the_router_the_policy_still_holds() -> None:
    entry, _ = routing(router_fails=Unavailable("away"))
    request = context()
    decision = await entry.route(RouteRequest("Who built it?", "auto-quality"), request)
    assert (decision.degraded, decision.policy, decision.tier) == (True, "auto-quality", "big")
    assert request.bill.decision == decision


async def test_the_router_is_told_what_was_seen_of_the_tiers() -> None:
    entry, router = routing()
    entry.meter.of("mid").began(120.0)
    entry.failover.breaker("big").failed(retry_after_s=30)
    await entry.route(RouteRequest("Prove that 3 * 4 = 12.", "auto"), context())
    (asked,) = router.asked
    assert asked.tiers["mid"].ttft_ms == 120
    assert not asked.tiers["big"].available


async def test_a_named_tier_needs_no_router() -> None:
    entry, router = routing()
    decision = await entry.route(RouteRequest("Who built it?", "mid"), context())
    assert (decision.tier, router.asked) == ("mid", [])


def test_a_chats_needs_are_read_off_its_request() -> None:
    request = GenerateRequest(
        messages=[ChatMessage("user", "x" * 400)], tools=[Tool("height")], json_schema={}
    )
    asked = ask_of("x", "auto", request, whole=True)
    assert asked.needs == ["tools", "json_schema"]
    assert asked.prompt_tokens >= 100


def test_an_image_goes_only_to_tiers_that_see() -> None:
    seeing = provider(DEAR, capabilities=("vision",))
    fleet = settings_with(providers={"mid": provider(CHEAP), "eye": seeing, "eye2": seeing})
    turn = ChatMessage("user", "What is it?", parts=["What is it?", Image("aGk=", "image/png")])
    asked = ask_of("What is it?", "auto", GenerateRequest(messages=[turn]), whole=True)
    assert (asked.needs, asked.prompt_tokens > 1000) == (["vision"], True)
    decision = decider_of(fleet, with_model=False).decide(asked)
    assert (decision.tier, decision.fallbacks) == ("eye", ["eye2"])
