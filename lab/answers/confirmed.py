"""Trains what an LLM's yes or no adds to the head of answerability, and prints what it is worth.

    python -m lab.answers.confirmed

A tier is asked, as `tiffin.pipeline.stages.confirm` does, whether the evidence answers. A logistic
regression of two inputs weighs what it says next to the head. It sees development questions only,
each with a head that saw nothing of its article; the test part is read to report. The first run is
slow: three seconds a question on two cores.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import CACHE, SEED, Part
from lab.answers.probe import fit_probe
from lab.answers.report import auc, figure
from lab.answers.scored import Found, Scored, find, judge
from lab.answers.scores import Scores
from lab.answers.train import (
    OF_SQUAD,
    cases,
    folds,
    held_out,
    read_by_others,
    table,
    thresholds_of,
)
from lab.logistic import Floats, logistic
from lab.opinions import Opinions
from tiffin.grounding.alike import MOST
from tiffin.grounding.answerable import NAMES, Head
from tiffin.grounding.confirmed import Confirmed, is_sure, log_odds
from tiffin.pipeline.stages.confirm import question_for

RIDGE = 3.0
OVER = ("sample", "nearest", "everyday", "reworded")


async def read(reader: Opinions, scored: Sequence[Scored], said: Floats) -> Floats:
    """What it leans to, in logits, of each case of which the head is not sure; else 0."""
    leanings = np.zeros(len(scored))
    for at, item in enumerate(scored):
        if sys.stderr.isatty():
            print(f"\r{at + 1} of {len(scored)}", end="", file=sys.stderr)  # noqa: T201
        if not is_sure(said[at]):
            sentences = [one.text for one in item.evidence(3)]
            leanings[at] = await reader.of(question_for(item.case.question, sentences))
    return leanings


def fit(said: Floats, leanings: Floats, answerable: NDArray[np.bool_]) -> Confirmed:
    """Of the cases of which the head is not sure, each once."""
    asked = np.array([not is_sure(one) for one in said])
    odds = np.array([log_odds(one) for one in said[asked]])
    rows = np.column_stack([odds, np.clip(leanings[asked], -MOST, MOST)])
    (of_head, of_model), bias = logistic(rows, answerable[asked], np.full(2, RIDGE))
    return Confirmed(round(of_head, 6), round(of_model, 6), round(bias, 6), {}, {})


def both(weights: Confirmed, said: Floats, leanings: Floats) -> Floats:
    """The probability of each case, by the head alone where it is sure."""
    rows = zip(said, leanings, strict=True)
    return np.array([p if is_sure(p) else weights.probability(p, z) for p, z in rows])


def trained(
    scored: Sequence[Scored], said: Floats, leanings: Floats, model: str
) -> tuple[Confirmed, Floats]:
    """The weights, and what weights that saw nothing of a case's article say of it.

    The latter are what the thresholds are of.
    """
    answerable = np.array([bool(item.case.answers) for item in scored])
    of_row = folds(np.array([item.case.group for item in scored]))
    held = np.zeros(len(said))
    for fold in range(of_row.max() + 1):
        left, rest = of_row == fold, of_row != fold
        weights = fit(said[rest], leanings[rest], answerable[rest])
        held[left] = both(weights, said[left], leanings[left])
    public = np.array([item.case.over in OF_SQUAD for item in scored])
    whole = fit(said, leanings, answerable)
    weights = Confirmed(
        whole.head,
        whole.model,
        whole.bias,
        thresholds_of(held[answerable], public[answerable]),
        {
            "model": model,
            "seed": str(SEED),
            "rows": str(len(said)),
            "asked": str(sum(not is_sure(one) for one in said)),
            "auc_of_own": f"{auc(held[~public], answerable[~public]):.4f}",
            "auc_of_own_without": f"{auc(said[~public], answerable[~public]):.4f}",
            "auc_of_squad": f"{auc(held[public], answerable[public]):.4f}",
            "auc_of_squad_without": f"{auc(said[public], answerable[public]):.4f}",
        },
    )
    return weights, held


def lines(scored: Sequence[Scored], said: Floats, least: float) -> Iterator[str]:
    """What refusing below that probability does, by what the passages are."""
    answerable = np.array([bool(item.case.answers) for item in scored])
    for over in OVER:
        of = np.array([item.case.over == over for item in scored])
        parts = [f"{over}: AUC {auc(said[of], answerable[of]):.3f}"]
        for name, kind in (("unanswerable", ~answerable), ("answerable", answerable)):
            rows = np.flatnonzero(of & kind)
            articles = [scored[row].case.group for row in rows]
            parts.append(f"{name} refused {figure((said[rows] < least).tolist(), articles)}")
        yield ", ".join(parts)


async def run(options: argparse.Namespace) -> None:
    """Train, report, write."""
    scores = Scores(options.scores, threads=options.threads)
    reader = Opinions(options.model, options.said, options.threads)
    found: dict[Part, list[Found]] = {
        part: [find(case, scores) for case in cases(part, scores, 150, 50)]
        for part in options.parts
    }
    development = read_by_others(found["development"], scores)
    said = held_out(table(development, 3))
    leanings, head = await read(reader, development, said), Head.load()
    weights, held = trained(development, said, leanings, options.model)
    print(weights)  # noqa: T201
    if options.write:
        weights.save()
    parts = [("development", development, said, held)]
    if "test" in found:
        probe = fit_probe([item.pairs(scores) for item in found["development"]])
        test = [judge(item, scores, probe) for item in found["test"]]
        named = [item.features() for item in test]
        alone = head.probabilities(np.array([[row[name] for name in NAMES] for row in named]))
        parts.append(("test", test, alone, both(weights, alone, await read(reader, test, alone))))
    for part, scored, alone, confirmed in parts:
        for rate in options.rates:
            print(f"--- {part}, false_refusals {rate:g}: the head alone")  # noqa: T201
            print(*lines(scored, alone, head.threshold(rate)), sep="\n")  # noqa: T201
            print(f"--- {part}, false_refusals {rate:g}: with {options.model}")  # noqa: T201
            print(*lines(scored, confirmed, weights.threshold(rate)), sep="\n")  # noqa: T201
    await reader.close()


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "scores.sqlite")
    parser.add_argument("--said", type=Path, default=CACHE / "said.sqlite")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b-instruct")
    parser.add_argument("--parts", nargs="+", default=["development", "test"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.05, 0.1])
    parser.add_argument("--write", action="store_true", help="write what is shipped")
    parser.add_argument("--threads", type=int, default=2)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
