"""Our Prometheus metrics; BentoML's `/metrics` exposes them beside its own.

Names are `tiffin_*`, in base units, with labels of few values.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from tiffin.telemetry import metric_files

metric_files.install()

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

answers_total = Counter("tiffin_answers_total", "Questions by how they ended.", ["outcome"])
stage_seconds = Histogram(
    "tiffin_stage_seconds", "Time of a pipeline stage.", ["stage"], buckets=SECONDS
)
first_token_seconds = Histogram(
    "tiffin_first_token_seconds", "From request to first text.", ["tier"], buckets=SECONDS
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
ingestion_stopped = Gauge(
    "tiffin_ingestion_stopped",
    "1 while ingestion waits after an error; the log and /readyz say which.",
    multiprocess_mode="livemax",
)

# What services scale on (tiffin.config.scaling): each is told by the service that it is about, but
# for the calls, which the caller tells: they are there when no replica is.
calls_total = Counter("tiffin_calls_total", "Calls of a service, by its caller.", ["service"])
service_requests_total = Counter("tiffin_service_requests_total", "Requests taken.", ["service"])
in_work = Gauge(
    "tiffin_in_work",
    "Requests in progress or waiting: the depth of the service's queue.",
    ["service"],
    multiprocess_mode="livesum",
)
service_seconds = Histogram(
    "tiffin_service_seconds",
    "From a request to its whole answer, or to the first event of a stream.",
    ["service"],
    buckets=SECONDS,
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

# The tiers.
tier_seconds = Histogram(
    "tiffin_tier_seconds",
    "From asking a tier to the end of its answer.",
    ["tier"],
    buckets=(*SECONDS, 60.0, 300.0),
)
output_token_seconds = Histogram(
    "tiffin_output_token_seconds",
    "Mean time of each token of an answer after its first text.",
    ["tier"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
decisions_total = Counter(
    "tiffin_routing_decisions_total",
    "Routing decisions; `decided_by` is `router`, or `entry` if there was no choice or no router.",
    ["policy", "tier", "decided_by"],
)
breaker_open = Gauge(
    "tiffin_breaker_open",
    "1 from when a tier's circuit breaker opens until the tier answers again.",
    ["tier"],
    multiprocess_mode="livemax",
)
breaker_changes_total = Counter(
    "tiffin_breaker_changes_total", "Times a circuit breaker opened or closed.", ["tier", "to"]
)

# What answers are worth.
stage_failures_total = Counter(
    "tiffin_stage_failures_total",
    "Stages that were late or failed and had a substitute, by the error's type.",
    ["stage", "error"],
)
questions_total = Counter(
    "tiffin_questions_total",
    "Questions answered, or refused because the documents do not say; by who wrote.",
    ["tier", "result"],
)
answerable_probability = Histogram(
    "tiffin_answerable_probability",
    "Probability that the documents answer the question.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
unsupported_sentences_total = Counter(
    "tiffin_unsupported_sentences_total",
    "Sentences of a model that the documents do not support: replaced by a quote, or removed.",
    ["done"],
)

# What must not be lost.
ledger_lost_rows_total = Counter(
    "tiffin_ledger_lost_rows_total", "Rows of the ledger that could not be written."
)
ledger_refresh_failures_total = Counter(
    "tiffin_ledger_refresh_failures_total",
    "Times other replicas' spending could not be read; caps then count this replica only.",
)
service_ready = Gauge(
    "tiffin_service_ready",
    "1 if the entry service finds the service ready.",
    ["service"],
    multiprocess_mode="livemin",
)
build_info = Gauge(
    "tiffin_build_info",
    "1; the version that runs and its profile.",
    ["version", "profile"],
    multiprocess_mode="livemax",
)


Metric = TypeVar("Metric", Counter, Gauge, Histogram)


@cache
def series(metric: Metric, *labels: str) -> Metric:
    """The metric's series of these labels: `labels` checks them anew at each call."""
    return metric.labels(*labels)


@contextmanager
def working(service: str) -> Generator[None, None, None]:
    """Count a request to a service as in work during the block."""
    gauge = taken(service)
    try:
        yield
    finally:
        gauge.dec()


def taken(service: str) -> Gauge:
    """Count a request to a service; the gauge is to be told of its end."""
    series(service_requests_total, service).inc()
    gauge: Gauge = series(in_work, service)
    gauge.inc()
    return gauge


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
