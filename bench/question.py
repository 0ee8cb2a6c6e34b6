"""What a whole question costs as its documents grow: `/rag_query` with the laptop profile.

Every document is a passage of about 150 tokens. `quote` answers with sentences of theirs; `small`
lets the small LLM write.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from bench.encoders import question_over
from bench.table import Table
from tests.support.stack import running_stack

ROUNDS = 7
REACH_S = {10: 1.0, 30: 1.2, 100: 1.5, 300: 2.0}
STAGES = ("embed", "search", "rerank", "evidence", "generate", "cite")


def run() -> str:
    """Start the stack, ask, stop it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), TIFFIN_PROFILE="laptop") as stack,
        httpx2.Client(base_url=stack.url, timeout=120) as client,
    ):
        rows = [_row(client, model, count) for model in ("quote", "small") for count in REACH_S]
    reach = ", ".join(f"{seconds} s over {count}" for count, seconds in REACH_S.items())
    return str(
        Table(
            "A whole question, by the number of passages that come with it",
            (
                "answered by",
                "passages",
                "p50, s",
                "best",
                "worst",
                *(f"{s}, ms" for s in STAGES),
                "degraded",
            ),
            rows,
            f"{ROUNDS} questions each, one at a time; medians. To reach, by `quote`: {reach}.",
        )
    )


def _row(client: httpx2.Client, model: str, count: int) -> list[str]:
    took: list[float] = []
    answers: list[dict[str, Any]] = []
    for number in range(ROUNDS + 1):
        asked, texts = question_over(number, count)
        body = {"query": asked, "documents": texts, "model": model, "stream": False}
        began = time.perf_counter()
        answer = client.post("/rag_query", json=body)
        took.append(time.perf_counter() - began)
        answers.append(answer.raise_for_status().json())
    took, answers = took[1:], answers[1:]  # the first one warms the model up
    stages = [
        median(answer["timings"].get(f"{stage}_ms") or 0.0 for answer in answers)
        for stage in STAGES
    ]
    degraded = sorted({name for answer in answers for name in answer["degraded"]})
    return [
        model,
        str(count),
        f"{median(took):.2f}",
        f"{min(took):.2f}",
        f"{max(took):.2f}",
        *(f"{ms:.0f}" for ms in stages),
        ", ".join(degraded) or "-",
    ]
