"""What the access log keeps when a thousand requests a second are refused."""

import logging

from services.bento.access_log import REFUSALS_LOGGED, FewRefusals


def line(status: int) -> logging.LogRecord:
    """As BentoML writes it."""
    message = "%s (%s) (%s) %.3fms"
    arguments = ("127.0.0.1:1", "method=POST,path=/rag_query", f"status={status},type=x", 1.0)
    return logging.LogRecord("bentoml.access", logging.INFO, "", 1, message, arguments, None)


def test_refusals_fill_few_lines_of_the_access_log_and_answers_all_of_theirs() -> None:
    kept = FewRefusals()
    answers = [kept.filter(line(200)) for _ in range(1000)]
    refusals = [kept.filter(line(503)) for _ in range(1000)]
    assert all(answers)
    assert REFUSALS_LOGGED <= sum(refusals) < len(refusals) / 2
