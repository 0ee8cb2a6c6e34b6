"""Our Prometheus metrics; BentoML's `/metrics` exposes them beside its own.

Names are `tiffin_*`, in base units, with labels of few values.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from tiffin.core.errors import TiffinError
from tiffin.core.values import RagAnswer

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

answers_total = Counter("tiffin_answers_total", "Questions by how they ended.", ["outcome"])
stage_seconds = Histogram(
    "tiffin_stage_seconds", "Time of a pipeline stage.", ["stage"], buckets=_SECONDS
)
first_token_seconds = Histogram(
    "tiffin_first_token_seconds", "From request to first text.", ["tier"], buckets=_SECONDS
)
tokens_total = Counter("tiffin_tokens_total", "Tokens read and written.", ["tier", "kind"])
attempts_total = Counter(
    "tiffin_attempts_total", "Tiers asked, by how it ended.", ["tier", "outcome"]
)
cost_usd_total = Counter("tiffin_cost_usd_total", "US dollars of all attempts.", ["tier"])
cache_total = Counter(
    "tiffin_cache_total", "Requests that the cache was asked for.", ["layer", "result"]
)
cache_refusals_total = Counter(
    "tiffin_cache_refusals_total", "Near questions whose kept answer was not given.", ["reason"]
)
cache_store_failures_total = Counter(
    "tiffin_cache_store_failures_total", "Calls that the cache's server refused, or missed."
)
cache_saved_usd_total = Counter("tiffin_cache_saved_usd_total", "US dollars that hits saved.")
cache_saved_seconds_total = Counter("tiffin_cache_saved_seconds_total", "Seconds that hits saved.")
checks_total = Counter(
    "tiffin_safety_checks_total",
    "Checks of safety, by how they ended.",
    ["part", "check", "outcome"],
)
degraded_total = Counter("tiffin_degraded_total", "What answers were given without.", ["what"])

# The corpora, as `tiffin.corpus.ingest` sees them.
ingested_chunks_total = Counter("tiffin_ingested_chunks_total", "Chunks embedded and stored.")
corpus_files = Gauge(
    "tiffin_corpus_files", "Files in corpora.", ["state"], multiprocess_mode="livemax"
)
corpus_chunks = Gauge(
    "tiffin_corpus_chunks", "Chunks stored in all corpora.", multiprocess_mode="livemax"
)
corpus_unindexed_chunks = Gauge(
    "tiffin_corpus_unindexed_chunks",
    "Chunks that the indexes of words do not have yet.",
    multiprocess_mode="livemax",
)
corpus_fragments = Gauge(
    "tiffin_corpus_fragments",
    "Pieces of the corpus that has most; compaction merges them.",
    multiprocess_mode="livemax",
)

# What services scale on (tiffin.config.scaling): each is told by the service that it is about, but
# for the calls, which the caller tells: they are there when no replica is.
calls_total = Counter("tiffin_calls_total", "Calls of a service, by its caller.", ["service"])
service_requests_total = Counter("tiffin_service_requests_total", "Requests taken.", ["service"])
in_work = Gauge(
    "tiffin_in_work",
    "Requests in work or waiting: the depth of the service's queue.",
    ["service"],
    multiprocess_mode="livesum",
)
service_seconds = Histogram(
    "tiffin_service_seconds",
    "From a request to its whole answer, or to the first event of a stream.",
    ["service"],
    buckets=_SECONDS,
)

# The saturation of the entry service, as `tiffin.traffic.saturation` sees it.
admission_limit = Gauge(
    "tiffin_admission_limit",
    "Requests that may be in progress; it adapts to how fast they are answered.",
    ["lane"],
    multiprocess_mode="livesum",
)
admission_in_progress = Gauge(
    "tiffin_admission_in_progress",
    "Requests in progress, out of that limit.",
    ["lane"],
    multiprocess_mode="livesum",
)
admission_waiting = Gauge(
    "tiffin_admission_waiting",
    "Requests that wait in the admission queue.",
    ["priority"],
    multiprocess_mode="livesum",
)


Metric = TypeVar("Metric", Counter, Gauge, Histogram)


@cache
def series(metric: Metric, *labels: str) -> Metric:
    """The metric's series of these labels: `labels` checks them anew at each call."""
    return metric.labels(*labels)


@contextmanager
def working(service: str) -> Generator[None, None, None]:
    """Count a request to a service as in work during the block."""
    gauge = _taken(service)
    try:
        yield
    finally:
        gauge.dec()


def _taken(service: str) -> Gauge:
    """Count a request to a service; the gauge is to be told of its end."""
    series(service_requests_total, service).inc()
    gauge: Gauge = series(in_work, service)
    gauge.inc()
    return gauge


@contextmanager
def outcome() -> Generator[None, None, None]:
    """Count how the question in the block ends: ok, an error's type, or abandoned."""
    ended, gauge = "abandoned", _taken("RAG")
    try:
        yield
        ended = "ok"
    except TiffinError as error:
        ended = error.type
        raise
    except Exception:
        ended = "server_error"
        raise
    finally:
        gauge.dec()
        series(answers_total, ended).inc()


class _Tokens(Protocol):
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


def observe_first_token(tier: str, seconds: float) -> None:
    """Record how long the first text took."""
    series(first_token_seconds, tier).observe(seconds)


def observe_usage(tier: str, usage: _Tokens) -> None:
    """Record what an answer read and wrote."""
    series(tokens_total, tier, "prompt").inc(usage.prompt_tokens)
    series(tokens_total, tier, "completion").inc(usage.completion_tokens)


def observe(answer: RagAnswer) -> None:
    """Record a finished answer."""
    tier = answer.route.tier
    for stage, span_ms in answer.timings.stages().items():
        series(stage_seconds, stage).observe(span_ms / 1000)
    observe_first_token(tier, answer.timings.first_token_ms / 1000)
    observe_usage(tier, answer.usage)
    for what in answer.degraded:
        series(degraded_total, what).inc()
