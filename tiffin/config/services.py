"""The one table of services: the name, task and scaling signals of each, and whether it may sleep.

Settings, topology, scaling, GPU placement, clients and the services themselves are derived from it.
A new service is one file in `services/` and one row here.
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal["embedding", "rerank", "route", "safety", "chat", "entry"]
Signal = Literal[
    "request_rate_per_s", "queue_depth", "latency_p95_ms", "first_token_p95_ms", "gpu_percent"
]

_LOAD: frozenset[Signal] = frozenset({"request_rate_per_s", "queue_depth"})
_UNARY: frozenset[Signal] = _LOAD | {"latency_p95_ms"}
_ENCODER: frozenset[Signal] = _UNARY | {"gpu_percent"}
_LLM: frozenset[Signal] = _LOAD | {"first_token_p95_ms", "gpu_percent"}


@dataclass(frozen=True)
class Service:
    """One row.

    `section` is the dotted name of its settings, None if it has none. `tier` is the LLM tier that
    it serves. `signals` are what it may scale on. Latency is not among them where more replicas
    would not change it: the entry service waits for the services behind it, and a stream takes as
    long as it is. A service that `may_sleep` may have no replica, because another tier answers
    instead.
    """

    name: str
    task: Task
    signals: frozenset[Signal]
    section: str | None = None
    tier: str | None = None
    may_sleep: bool = False


SERVICES = (
    Service("Embedding", "embedding", _ENCODER, section="embedding"),
    Service("Reranker", "rerank", _ENCODER, section="reranker"),
    Service("Router", "route", _UNARY),
    Service("Safety", "safety", _UNARY),
    Service("SmallLLM", "chat", _LLM, section="tiers.small", tier="small"),
    Service("LargeLLM", "chat", _LLM, section="tiers.large", tier="large", may_sleep=True),
    Service("RAG", "entry", _LOAD),
)
"""In start order: the entry service, which calls all others, is last."""

BY_NAME = {service.name: service for service in SERVICES}
BY_TIER = {service.tier: service for service in SERVICES if service.tier is not None}
ENTRY = next(service.name for service in SERVICES if service.task == "entry")
