"""Whether our own tiers read the evidence: their answers to questions over passages.

    python -m lab.router.own_tiers --count 300

Writes `own_tiers.jsonl` next to this file, one line a question: which one it is, the features that
the answerability head reads, whether the answer of each tier, the quote, and the three best
sentences hold a right answer. The last is what the best reader of this evidence could reach. What
is in the file already is not asked again, so that a run that was stopped goes on. A question takes
some five seconds of a core for the small tier, and twelve for the large one (temperature 0).
"""

import argparse
import asyncio
import json
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lab.answers.data import CACHE, SEED, Case, Part, everyday, nearest_cases, reworded, squad_cases
from lab.answers.probe import Probe
from lab.answers.report import right
from lab.answers.scored import Scored, score
from lab.answers.scores import Scores
from models.catalog import load_catalog
from models.engines.llama_cpp import LlamaCppEngine
from models.store import Store
from models.values import GenerateRequest, TextDelta
from tiffin.cli.answer_figures import holds
from tiffin.grounding.answerable import Head
from tiffin.grounding.quote import quotable
from tiffin.pipeline.prompt import rag_messages

FILE = Path(__file__).with_name("own_tiers.jsonl")
TIERS: Mapping[str, str] = {
    "small": "qwen2.5-coder-0.5b-instruct",
    "large": "qwen2.5-coder-1.5b-instruct",
}
"""Those of the laptop profile, the large one if it is switched on."""

PARTS: tuple[Part, Part] = ("development", "test")
SENTENCES = 3
TOKENS = 48


def cases(scores: Scores, squad: int) -> list[tuple[Part, Case]]:
    """Answerable questions of both parts in a fixed random order, so that any beginning is fair."""
    found = [
        (part, case)
        for part in PARTS
        for case in (
            *squad_cases(part, squad),
            *nearest_cases(part, scores.cosines, squad // 3),
            *everyday(part),
            *reworded(part),
        )
        if case.answers
    ]
    return random.Random(SEED).sample(found, len(found))  # noqa: S311  a sample, not a secret


def texts(scored: Scored) -> list[str]:
    """The evidence as a prompt has it."""
    return [item.text for item in quotable(scored.evidence(SENTENCES))]


async def written(engine: LlamaCppEngine, question: str, evidence: Sequence[str]) -> str:
    """What a tier answers."""
    request = GenerateRequest(
        messages=rag_messages(question, evidence), max_tokens=TOKENS, temperature=0.0
    )
    pieces = [event async for event in engine.generate(request)]
    return "".join(event.text for event in pieces if isinstance(event, TextDelta))


def is_right(case: Case, answer: str) -> bool:
    """By the same measure as `tiffin eval answers`."""
    return holds(answer, (*case.answers, *case.supporting))


async def run(tier: str, count: int, squad: int, threads: int) -> None:
    """Ask the tier, and write the file after each question. The test part comes first."""
    scores = Scores(CACHE / "scores.sqlite", threads=threads)
    head, probe = Head.load(), Probe.shipped()
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    rows = {row["id"]: row for row in map(json.loads, lines)}
    async with tier_of(tier, threads) as engine:
        wanted = sorted(cases(scores, squad)[:count], key=lambda one: one[0] != "test")
        for part, case in wanted:
            if tier in rows.get(case.id, {}):
                continue
            scored = score(case, scores, probe)
            row = rows.setdefault(case.id, described(part, scored, head))
            row[tier] = is_right(case, await written(engine, case.question, texts(scored)))
            FILE.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), "utf-8")


@asynccontextmanager
async def tier_of(name: str, threads: int) -> AsyncGenerator[LlamaCppEngine, None]:
    """The engine of a tier, ready."""
    engine = LlamaCppEngine(_file(name), context_tokens=2048, parallel=1, threads=threads)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def _file(tier: str) -> Path:
    folder = Store(CACHE.parent).path(load_catalog().get(TIERS[tier]))
    return next(folder.glob("*.gguf"))


def described(part: Part, scored: Scored, head: Head) -> dict[str, object]:
    """The line of a question without the answers of tiers."""
    case, named = scored.case, scored.features()
    return {
        "id": case.id,
        "over": case.over,
        "kind": case.kind,
        "group": case.group,
        "part": part,
        "question": case.question,
        "answerable": round(head.probability(named), 5),
        "features": {name: round(value, 4) for name, value in named.items()},
        "quote": right(case, scored.evidence(SENTENCES)),
        "held": right(case, scored.evidence(SENTENCES), SENTENCES),
    }


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", choices=TIERS, default="small")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--squad", type=int, default=150, help="of SQuAD, in each part")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    asyncio.run(run(options.tier, options.count, options.squad, options.threads))


if __name__ == "__main__":
    main()
