"""Counts answers, as the entry service gives them: how they ended, and what they were worth."""

from collections.abc import Generator
from contextlib import contextmanager

from tiffin.core.errors import TiffinError
from tiffin.core.values import RagAnswer
from tiffin.telemetry import metrics
from tiffin.telemetry.metrics import series


@contextmanager
def outcome() -> Generator[None, None, None]:
    """Count how the question in the block ends: ok, an error's type, or abandoned."""
    ended, gauge = "abandoned", metrics.taken("RAG")
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
        series(metrics.answers_total, ended).inc()


def observe(answer: RagAnswer) -> None:
    """Record a finished answer."""
    tier = answer.route.tier
    for stage, span_ms in answer.timings.stages().items():
        series(metrics.stage_seconds, stage).observe(span_ms / 1000)
    metrics.observe_first_token(tier, answer.timings.first_token_ms / 1000)
    metrics.observe_usage(tier, answer.usage)
    for what in answer.degraded:
        series(metrics.degraded_total, what).inc()
    series(metrics.questions_total, tier, "answered" if answer.answered else "refused").inc()
    if answer.probability is not None:
        metrics.answerable_probability.observe(answer.probability)
    for done, count in (("replaced", answer.replaced), ("removed", answer.removed)):
        if count:
            series(metrics.unsupported_sentences_total, done).inc(count)
