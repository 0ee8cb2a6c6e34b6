"""The composition of the entry service: `build(settings, clients)` makes its `Gateway`.

`services/rag.py` calls it with clients of the services, and the tests with clients of stand-ins,
so that tests run the wiring that production runs.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from models.user_catalog import catalog_of
from tiffin.cache.answers import AnswerCache
from tiffin.cache.keys import fingerprint
from tiffin.cache.opening import open_store
from tiffin.cache.relevance import KnownScores, Reranks
from tiffin.cache.vectors import Embeds, KnownVectors
from tiffin.clients import Clients
from tiffin.config.safety import SafetySettings
from tiffin.config.section import SettingsError
from tiffin.config.services import BY_TIER
from tiffin.config.settings import Settings
from tiffin.core.checks import Part
from tiffin.corpus.corpora import Corpora
from tiffin.gateway import Gateway
from tiffin.grounding import alike
from tiffin.grounding.alike import EMBEDDER
from tiffin.grounding.evidence import SCALES
from tiffin.grounding.language import Readers
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.pipeline.answering import Answer
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.chat_safety import ChatPolicies
from tiffin.pipeline.decisions import Decisions
from tiffin.pipeline.first_token import FirstToken
from tiffin.pipeline.generate import Generator
from tiffin.pipeline.likeness import Likeness
from tiffin.pipeline.opinion import Opinion
from tiffin.pipeline.rag import RagPipeline
from tiffin.pipeline.replay import Replay
from tiffin.pipeline.stages.cite import Cite
from tiffin.pipeline.stages.confirm import Confirm
from tiffin.pipeline.stages.embed import Embed
from tiffin.pipeline.stages.evidence import Evidence
from tiffin.pipeline.stages.generate import Generate
from tiffin.pipeline.stages.recall import Memory, Recall
from tiffin.pipeline.stages.remember import Remember
from tiffin.pipeline.stages.rerank import Rerank
from tiffin.pipeline.stages.route import Route
from tiffin.pipeline.stages.screen import CheckQuestion, Screen
from tiffin.pipeline.stages.search import Search
from tiffin.pipeline.stages.widen import Widen
from tiffin.providers.connect import connect_providers
from tiffin.providers.guard_tier import GuardTier
from tiffin.providers.moderation import Moderator
from tiffin.providers.protocol import LLM
from tiffin.routing.assembly import decider_of
from tiffin.routing.client import Routing
from tiffin.routing.fleet import Fleet
from tiffin.routing.ledger import Ledger
from tiffin.routing.meter import Meter
from tiffin.safety.guard import Guard, Moderates
from tiffin.safety.policy import Judges, judges_of
from tiffin.safety.storing import Storing
from tiffin.safety.verdicts import Verdicts
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.failover import Failover


def build(settings: Settings, clients: Clients, drain: Drain) -> Gateway:
    """Compose the application. Raises SettingsError and LedgerError."""
    providers = connect_providers(settings.providers)
    decider = decider_of(settings, with_model=False)
    ledger = Ledger(settings.ledger_at())
    meter = Meter(decider.fleet, ledger)
    failover = Failover(settings.routing.failover)
    generator = Generator({**clients.tiers, **providers}, meter, failover)
    routing = Routing(clients.router, decider, meter, failover)
    models = {tier.name: tier.model for tier in decider.fleet}
    stream = settings.resilience.stream
    store, mark = open_store(settings.cache), fingerprint(settings)
    exact = AnswerCache(store, settings.cache.ttl_s) if settings.cache.exact else None
    cached = settings.cache
    bounds = cached.wrong_hits, cached.checked_share
    memory = Memory(store, mark, cached.ttl_s, *bounds) if cached.semantic else None
    likeness = _likeness(settings, clients, generator, decider.fleet)
    corpora = Corpora(settings, clients.embedding)
    guard = _guard(settings, clients, _moderator(settings.safety, generator.tiers, failover))
    if guard is not None and _scans(settings.safety):
        corpora.ingestion.check = Storing(guard).check
    judges = partial(_judges, settings.safety, guard)
    checks = ChatPolicies(judges("chat", "input"), judges("chat", "output"))
    output = judges("rag", "output")
    pipeline = _pipeline(
        settings,
        clients,
        corpora,
        judges,
        memory=memory,
        likeness=likeness,
        confirm=_confirm(settings, generator, decider.fleet),
        route=Route(routing),
        writer=Answer(
            Generate(generator, models, stream, output, _brief(settings)),
            settings.resilience.budget.generate_ms,
            output,
        ),
    )
    served = clients.by_service()
    chats = ChatPipeline(routing, generator, models, stream, checks)
    return Gateway(
        settings=settings,
        clients=clients,
        models=models,
        pipeline=pipeline,
        chat=chats,
        readiness=Readiness(
            served,
            drain,
            optional=frozenset(served),
            any_of=frozenset(BY_TIER[tier].name for tier in clients.tiers),
            may_sleep=clients.may_sleep,
        ),
        admission=AdmissionQueue(
            settings.limits.concurrency, settings.resilience.admission, pipeline.reserved_share
        ),
        drain=drain,
        providers=providers,
        ledger=ledger,
        store=store,
        replay=Replay(exact, mark) if exact else None,
        corpora=corpora,
        decisions=Decisions(
            pipeline.stream,
            FirstToken(chats.stream, models),
            clients.reranker,
            settings.reranker.model,
            frozenset(name for name, provider in providers.items() if provider.decides),
        ),
        likeness=likeness,
        guard=guard,
    )


def _pipeline(
    settings: Settings,
    clients: Clients,
    corpora: Corpora,
    judges: Callable[[Literal["rag", "chat"], Part], Judges],
    *,
    memory: Memory | None,
    likeness: Likeness,
    confirm: Confirm | None,
    route: Route,
    writer: Answer,
) -> RagPipeline:
    """The way of a question: its stages, in order."""
    budget = settings.resilience.budget
    question, passages = judges("rag", "input"), judges("rag", "passages")
    readers = _readers(settings)
    embedding: Embeds = clients.embedding
    reranker: Reranks = clients.reranker
    if settings.cache.retrieval:
        embedding = KnownVectors(embedding, settings.cache.max_bytes)
        reranker = KnownScores(reranker, settings.cache.max_bytes)
    return RagPipeline(
        retrieval=(
            Embed(embedding, budget.embed_ms),
            Search(corpora.store, corpora.searcher, budget.search_ms),
            Rerank(reranker, budget.rerank_ms, readers),
            Widen(embedding, reranker),
            *([Screen(passages)] if passages.needed else []),
            Evidence(
                embedding,
                reranker,
                budget.evidence_ms,
                readers,
                scale=SCALES.get(settings.embedding.model, (1.0, 0.0)),
                judges=passages,
            ),
            *([confirm] if confirm else []),
        ),
        recall=Recall(memory, likeness, budget.confirm_ms if likeness.opinion else 0)
        if memory
        else None,
        route=route,
        writer=writer,
        closing=(Cite(budget.cite_ms), *([Remember(memory)] if memory else [])),
        defaults=settings.rag,
        rest_ms=budget.rest_ms,
        check=CheckQuestion(question) if question.needed else None,
    )


def _confirm(settings: Settings, generator: Generator, fleet: Fleet) -> Confirm | None:
    """What asks a tier whether the evidence answers, if one is named."""
    tier = settings.rag.confirm
    if tier is None:
        return None
    opinion = _opinion("rag.confirm", tier, generator, fleet)
    return Confirm(opinion, settings.resilience.budget.confirm_ms)


def _likeness(settings: Settings, clients: Clients, generator: Generator, fleet: Fleet) -> Likeness:
    """What says whether two questions are one. The heads are for one embedder."""
    tier, opinion = settings.cache.confirm, None
    if tier is not None:
        opinion = _opinion("cache.confirm", tier, generator, fleet)
        model, known = fleet[tier].model, alike.shipped(confirmed=True).metadata["models"].split()
        if model not in known:
            message = (
                f"cache.confirm: no one has measured how often {model} is wrong; name a tier with"
                f" {' or '.join(known)}, or none"
            )
            raise SettingsError(message)
    return (
        Likeness(clients.reranker, opinion) if settings.embedding.model == EMBEDDER else Likeness()
    )


def _opinion(field: str, tier: str, generator: Generator, fleet: Fleet) -> Opinion:
    """What asks the tier that a setting names for yes or no."""
    if tier not in fleet.tiers:
        message = f"{field}: {tier} is no tier; there are {', '.join(fleet.tiers)}"
        raise SettingsError(message)
    if "logprobs" not in fleet[tier].capabilities:
        raise SettingsError(f"{field}: {tier} tells no logprobs; name a tier that does")
    return Opinion(generator, tier, field)


def _judges(
    safety: SafetySettings, guard: Guard | None, route: Literal["rag", "chat"], part: Part
) -> Judges:
    """What judges that part of requests of a route, for every tenant."""
    tenants = {
        name: getattr(own, part)
        for name, its in safety.tenants.items()
        if (own := getattr(its, route)) is not None
    }
    return judges_of(part, getattr(getattr(safety, route), part), tenants, guard)


def _scans(safety: SafetySettings) -> bool:
    """Whether anyone's policy asks for instructions in passages."""
    rags = [safety.rag, *(its.rag for its in safety.tenants.values() if its.rag is not None)]
    return any("injection" in rag.passages for rag in rags)


def _guard(settings: Settings, clients: Clients, moderator: Moderates | None) -> Guard | None:
    """What asks the Safety service and the moderator; None if the service does not run."""
    if clients.safety is None:
        return None
    safety, timeout_s = settings.safety, settings.safety.timeout_ms / 1000
    rate = safety.false_positives
    verdicts = Verdicts(settings.corpora_database or settings.corpora_at(), rate)
    return Guard(clients.embedding, clients.safety, rate, timeout_s, moderator, verdicts)


def _moderator(
    safety: SafetySettings, tiers: Mapping[str, LLM], failover: Failover
) -> Moderates | None:
    """What judges in place of our heads, with a circuit breaker as tiers have."""
    named = safety.moderator
    if named is None or not safety.enabled:
        return None
    breaker = failover.breaker("moderation")
    if named.tier is None:
        return Moderator(named, breaker)
    if named.tier not in tiers:
        message = f"safety.moderator.tier: {named.tier} is no tier; there are {', '.join(tiers)}"
        raise SettingsError(message)
    return GuardTier(named.tier, tiers[named.tier], named.instructions, breaker)


def _brief(settings: Settings) -> frozenset[str]:
    """The tiers whose LLM runs on the CPU."""
    engines = {model.name: model.engine for model in catalog_of(settings.home).models}
    return frozenset(
        name for name, tier in settings.tiers.items() if engines.get(tier.model) == "llama.cpp"
    )


def _readers(settings: Settings) -> Readers:
    """The languages that the models read; of the LLMs, those that they read together."""
    languages = {model.name: model.languages for model in catalog_of(settings.home).models}
    any_language: frozenset[str] = frozenset()
    of_tiers = [languages.get(tier.model, any_language) for tier in settings.tiers.values()]
    if settings.providers or any_language in of_tiers:
        of_tiers = []
    return Readers(
        embedder=languages.get(settings.embedding.model, any_language),
        reranker=languages.get(settings.reranker.model, any_language),
        llms=any_language.union(*of_tiers),
    )
