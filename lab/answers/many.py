"""What narrowing many passages by their words costs in answers.

    python -m lab.answers.many --part test --questions 40 --passages 30 100

Each question stands over so many passages, once with the right one among them and once without,
up to a fifth of them of its own article; everyday questions stand over their own texts among those
of SQuAD. Two ways are compared: every passage is embedded and every sentence, or only those that
the pipeline embeds.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lab.answers.data import CACHE, Case, Part, everyday, part_of, squad
from lab.answers.probe import Probe
from lab.answers.report import groups, right, share
from lab.answers.scored import Scored, score
from lab.answers.scores import Scores
from tiffin.cli.answer_figures import holds
from tiffin.config.requests import RagSettings
from tiffin.core.scores import best_first
from tiffin.core.values import Document
from tiffin.grounding.answerable import Head
from tiffin.grounding.evidence import MAX_PAIRS
from tiffin.pipeline.lexical import narrowed
from tiffin.pipeline.passages import split_documents
from tiffin.pipeline.stages.embed import MOST_EMBEDDED
from tiffin.pipeline.stages.widen import RELEVANT

TOP_K = RagSettings().top_k


def cases(part: Part, questions: int, passages: int) -> Iterator[Case]:
    """Questions over so many passages, in an order of their own."""
    known = [item for item in squad() if part_of(item.article) == part]
    every = list(dict.fromkeys(item.passage for item in known))
    for item in known[:questions]:
        draw = random.Random(f"{item.id} {passages}")  # noqa: S311  a sample, not a secret
        own = {other.passage for other in known if other.article == item.article}
        near = sorted(own - {item.passage})[: max(2, passages // 5)]
        others = [*near, *_drawn([text for text in every if text not in own], passages, draw)]
        silent = [text for text in others if not holds(text, item.answers)]
        for texts, answers in (([item.passage, *others], item.answers), (silent, ())):
            kind = "answerable" if answers else "unanswerable"
            mixed = tuple(_drawn(texts[:passages], passages, draw))
            yield Case(item.id, kind, item.article, item.text, mixed, answers, "sample")
    for case in everyday(part):
        draw = random.Random(f"{case.id} {passages}")  # noqa: S311
        texts = [*case.passages, *_drawn(every, passages - len(case.passages), draw)]
        mixed = tuple(_drawn(texts, passages, draw))
        yield Case(**{**vars(case), "passages": mixed})


def _drawn(texts: Sequence[str], count: int, draw: random.Random) -> list[str]:
    return draw.sample(list(texts), min(max(0, count), len(texts)))


def searched(case: Case, scores: Scores, *, narrow: bool) -> Case:
    """The case over the passages that the search hands to the reranker."""
    passages = split_documents([Document(text=text) for text in case.passages])
    narrow = narrow and len(passages) > MOST_EMBEDDED
    kept = narrowed(case.question, passages, MOST_EMBEDDED)[0] if narrow else passages
    found = _nearest(case, [passage.text for passage in kept], scores)
    if len(kept) < len(passages) and max(scores.logits(case.question, found)) < RELEVANT:
        found = _nearest(case, [passage.text for passage in passages], scores)
    return Case(**{**vars(case), "passages": tuple(found)})


def _nearest(case: Case, texts: Sequence[str], scores: Scores) -> list[str]:
    cosines = np.array(scores.cosines(case.question, texts))
    return [texts[index] for index in best_first(cosines, TOP_K)]


def lines(name: str, scored: Sequence[Scored], head: Head) -> Iterator[str]:
    """What became of the questions that have an answer, and of those that have none."""
    refused = [head.probability(item.features()) < head.threshold(0.05) for item in scored]
    for over in ("sample", "everyday"):
        rows = [index for index, item in enumerate(scored) if item.case.over == over]
        yes = [index for index in rows if scored[index].case.answers]
        no = [index for index in rows if not scored[index].case.answers]
        hits = [right(scored[index].case, scored[index].evidence(3)) for index in yes]
        said = [hit and not refused[index] for hit, index in zip(hits, yes, strict=True)]
        yield share(f"{name}, {over}: quote is right", hits, groups(scored, yes))
        yield share(f"{name}, {over}: answered and right", said, groups(scored, yes))
        yield share(f"{name}, {over}: refused", [refused[i] for i in no], groups(scored, no))


def main() -> None:
    """Compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("development", "test"), default="test")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--passages", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument("--scores", type=Path, default=CACHE / "scores.sqlite")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    scores, head = Scores(options.scores, threads=options.threads), Head.load()
    probe = Probe.shipped()
    for count in options.passages:
        asked = list(cases(options.part, options.questions, count))
        for name, narrow in (("all", False), ("narrowed", True)):
            limit = None if narrow else MAX_PAIRS
            found = [
                score(searched(case, scores, narrow=narrow), scores, probe, embedded=limit)
                for case in asked
            ]
            print(*lines(f"{count} passages, {name}", found, head), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
