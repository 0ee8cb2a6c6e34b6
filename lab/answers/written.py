"""What the sentence gate makes of answers that LLMs wrote over evidence.

    python -m lab.answers.written            # the table, of the answers in written.jsonl
    python -m lab.answers.written --ask small --part test --count 100

With `--ask`, a tier answers questions that have an answer, and `written.jsonl` next to this file
gains a line for each: which question, by whom, and the text. What is in the file already is not
asked again. A question takes some five seconds of a core for the small tier, and twelve for the
large one (temperature 0).
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

from lab.answers.data import CACHE, Part
from lab.answers.probe import Probe
from lab.answers.report import figure, right
from lab.answers.scored import Scored, score
from lab.answers.scores import Scores
from lab.router.own_tiers import PARTS, SENTENCES, TIERS, cases, is_right, texts, tier_of, written
from tiffin.config.requests import RagSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.values import RagRequest
from tiffin.grounding.answerable import Head
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.gate import SentenceGate
from tiffin.pipeline.question import Question
from tiffin.telemetry.timeline import Timeline

FILE = Path(__file__).with_name("written.jsonl")
SQUAD = 150
"""Of SQuAD, in each part."""


def rows() -> list[dict[str, str]]:
    """What was written."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


async def ask(tier: str, part: Part, count: int, threads: int) -> None:
    """Let a tier answer the first questions of a part, and write the file after each."""
    scores, probe = Scores(CACHE / "scores.sqlite", threads=threads), Probe.shipped()
    known = {row["id"] for row in rows() if row["tier"] == tier}
    asked = [case for own, case in cases(scores, SQUAD) if own == part][:count]
    async with tier_of(tier, threads) as engine:
        for case in asked:
            if case.id in known:
                continue
            evidence = texts(score(case, scores, probe))
            text = await written(engine, case.question, evidence)
            row = {"tier": tier, "part": part, "id": case.id, "text": text}
            with FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def gated(scored: Scored, probability: float | None, text: str) -> str:
    """What leaves the gate of that text; without a probability, copies are not looked at."""
    deadline = Deadline.after(60)
    question = Question(
        request=RagRequest(query=scored.case.question, documents=["-"]),
        top_k=SENTENCES,
        top_n=SENTENCES,
        max_tokens=1,
        grounding="strict",
        false_refusals=0.05,
        prefer="write",
        context=RequestContext(deadline),
        documents=[],
        passages=[],
        budget=Budget.of(deadline, {"generate": 1.0}, RagSettings().top_k),
        timeline=Timeline(),
        evidence=scored.evidence(SENTENCES),
        probability=probability,
    )
    gate = SentenceGate(question)
    gate.release(text)
    if not gate.ended:
        gate.finish()
    return question.draft.text


def table() -> Iterator[str]:
    """Right answers, with 95 % intervals over articles and texts, by part and tier."""
    scores, probe, head = Scores(CACHE / "scores.sqlite", threads=2), Probe.shipped(), Head.load()
    known = {case.id: case for _, case in cases(scores, SQUAD)}
    yield "| answers | n | written | and checked | and no copies of others | quoted |"
    yield "|---|---|---|---|---|---|"
    for part in PARTS:
        for tier in TIERS:
            own = [row for row in rows() if (row["tier"], row["part"]) == (tier, part)]
            found = [(known[row["id"]], row["text"]) for row in own]
            scored = [score(case, scores, probe) for case, _ in found]
            odds = [head.probability(one.features()) for one in scored]
            given = list(zip(scored, odds, found, strict=True))
            columns = (
                [is_right(case, text) for case, text in found],
                [is_right(case, gated(one, None, text)) for one, _, (case, text) in given],
                [is_right(case, gated(one, odd, text)) for one, odd, (case, text) in given],
                [right(case, one.evidence(SENTENCES)) for one, _, (case, _) in given],
            )
            groups = [case.group for case, _ in found]
            cells = [figure(column, groups) for column in columns]
            yield f"| {part}, {TIERS[tier]} | {len(own)} | {' | '.join(cells)} |"


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", choices=TIERS)
    parser.add_argument("--part", choices=PARTS, default="test")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.ask:
        asyncio.run(ask(options.ask, options.part, options.count, options.threads))
    else:
        print(*table(), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
