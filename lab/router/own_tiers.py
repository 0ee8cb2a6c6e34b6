"""Whether our small tier reads the evidence: its answers to questions over passages.

    python -m lab.router.own_tiers --count 300

Writes `own_tiers.jsonl` next to this file, one line a question: which one it is, the features that
the answerability head reads, whether the tier's answer, the quote, and the sentences in the prompt
hold a right answer. The last is what the best reader of this evidence could reach, which here
takes the place of a strong tier. Questions that are in the file already are passed over, so that a
run that was stopped goes on. A question takes some five seconds of a core (temperature 0).
"""

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
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
from tiffin.pipeline.prompt import rag_messages

FILE = Path(__file__).with_name("own_tiers.jsonl")
TIER = "qwen2.5-coder-0.5b-instruct"
"""The small tier of the laptop profile."""

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
    return [item.text for item in scored.evidence(SENTENCES)]


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


async def run(count: int, squad: int, threads: int) -> None:
    """Ask the tier, and write a line after each question."""
    scores = Scores(CACHE / "scores.sqlite", threads=threads)
    head, probe = Head.load(), Probe.shipped()
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    known = {json.loads(line)["id"] for line in lines}
    store, catalog = Store(Path("~/.cache/tiffin")), load_catalog()
    file = next(store.path(catalog.get(TIER)).glob("*.gguf"))
    engine = LlamaCppEngine(file, context_tokens=2048, parallel=1, threads=threads)
    await engine.start()
    try:
        for part, case in cases(scores, squad)[:count]:
            if case.id in known:
                continue
            row = await asked(engine, part, score(case, scores, probe), head)
            with FILE.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
    finally:
        await engine.close()


async def asked(
    engine: LlamaCppEngine, part: Part, scored: Scored, head: Head
) -> dict[str, object]:
    """The line of a question."""
    case, named = scored.case, scored.features()
    answer = await written(engine, case.question, texts(scored))
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
        "small": is_right(case, answer),
    }


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--squad", type=int, default=150, help="of SQuAD, in each part")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    asyncio.run(run(options.count, options.squad, options.threads))


if __name__ == "__main__":
    main()
