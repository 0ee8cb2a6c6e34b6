"""Tables of what quoting and refusing are worth, each figure with a 95 % interval.

Intervals are bootstraps over articles: questions of one article are not independent.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import Case
from lab.answers.scored import Scored
from tiffin.cli.answer_figures import holds
from tiffin.cli.figures import interval
from tiffin.grounding.answerable import NAMES, Head
from tiffin.grounding.evidence import Evidence
from tiffin.grounding.quote import answer_of, quotes
from tiffin.pipeline.question import DECISIVE

WHOLE = frozenset({"two-passages", "contradiction"})
"""Kinds whose quote is right only when it holds every supporting sentence."""


def right(case: Case, chosen: Sequence[Evidence], limit: int | None = None) -> bool:
    """Whether the quote answers: it holds the answer's text, or the sentences that support it."""
    text = answer_of(quotes(chosen, limit=limit))
    if not case.supporting:
        return holds(text, case.answers)
    found = [sentence in text for sentence in case.supporting]
    return all(found) if case.kind in WHOLE else any(found)


def auc(said: NDArray[np.float64], answerable: NDArray[np.bool_]) -> float:
    """How often an answerable question stands above one that is not."""
    order = np.argsort(np.argsort(said, kind="stable"), kind="stable") + 1.0
    yes, no = answerable.sum(), (~answerable).sum()
    return float((order[answerable].sum() - yes * (yes + 1) / 2) / (yes * no))


def groups(scored: Sequence[Scored], rows: Sequence[int]) -> list[str]:
    """The articles of those rows."""
    return [scored[row].case.group for row in rows]


def share(name: str, hits: Sequence[bool], articles: Sequence[str]) -> str:
    """A line of the report."""
    return f"{name}: {figure(hits, articles)} of {len(hits)}" if hits else f"{name}: none"


def figure(hits: Sequence[bool], articles: Sequence[str]) -> str:
    """A share with its interval."""
    values = np.array(hits, np.float64)
    low, high = interval(articles, lambda rows: float(values[rows].mean()))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def lines(head: Head, scored: Sequence[Scored], rate: float = 0.05) -> Iterator[str]:
    """The report, line by line."""
    rows = np.array(
        [[named[name] for name in NAMES] for named in (item.features() for item in scored)]
    )
    said = head.probabilities(rows)
    refused = said < head.threshold(rate)
    over = {
        name: [i for i, item in enumerate(scored) if item.case.over == name]
        for name in ("sample", "nearest", "everyday", "reworded")
    }
    for name, chosen in over.items():
        yield from _answers(name, scored, refused, said, chosen)
    for name in ("everyday", "reworded"):
        for kind in sorted({scored[i].case.kind for i in over[name]}):
            rows_of = [i for i in over[name] if scored[i].case.kind == kind]
            yield from _kind(f"{name}, {kind}", scored, refused, rows_of)
    for name, chosen in over.items():
        decisive = [i for i in chosen if said[i] >= DECISIVE]
        hits = [right(scored[i].case, scored[i].evidence(3)) for i in decisive]
        yield share(f"{name}: decisive, quoted right", hits, groups(scored, decisive))
    yield f"wanted rate: refused, wrongly refused over {', '.join(over)}"
    answerable = np.array([bool(item.case.answers) for item in scored])
    for wanted in head.thresholds:
        below = said < head.thresholds[wanted]
        shares = [
            f"{below[chosen][answerable[chosen] == kind].mean():.3f}"
            for chosen in over.values()
            for kind in (False, True)
        ]
        yield f"  {wanted}: {', '.join(shares)}"


def _answers(
    name: str,
    scored: Sequence[Scored],
    refused: NDArray[np.bool_],
    said: NDArray[np.float64],
    rows: Sequence[int],
) -> Iterator[str]:
    yes = [i for i in rows if scored[i].case.answers]
    no = [i for i in rows if not scored[i].case.answers]
    answerable = np.array([bool(scored[i].case.answers) for i in rows])
    probabilities = said[list(rows)]
    low, high = interval(
        [scored[i].case.group for i in rows],
        lambda draw: auc(probabilities[draw], answerable[draw]),
    )
    yield f"{name}: AUC {auc(probabilities, answerable):.4f} [{low:.4f}, {high:.4f}]"
    yield share(f"{name}: unanswerable refused", [bool(refused[i]) for i in no], groups(scored, no))
    yield share(f"{name}: answerable refused", [bool(refused[i]) for i in yes], groups(scored, yes))
    for count in (1, 2, 3):
        hits = [right(scored[i].case, scored[i].evidence(count), count) for i in yes]
        yield share(f"{name}: right in the best {count}", hits, groups(scored, yes))
    hits = [right(scored[i].case, scored[i].evidence(3)) for i in yes]
    yield share(f"{name}: right as quoted", hits, groups(scored, yes))
    hits = [right(scored[i].case, scored[i].evidence(3)) and not refused[i] for i in yes]
    yield share(f"{name}: answered and right", [bool(hit) for hit in hits], groups(scored, yes))


def _kind(
    kind: str, scored: Sequence[Scored], refused: NDArray[np.bool_], rows: Sequence[int]
) -> Iterator[str]:
    of = groups(scored, rows)
    yield share(f"  {kind}: refused", [bool(refused[i]) for i in rows], of)
    if not kind.endswith("unanswerable"):
        for count in (2, 3):
            hits = [right(scored[i].case, scored[i].evidence(count), count) for i in rows]
            yield share(f"  {kind}: right in the best {count}", hits, of)
