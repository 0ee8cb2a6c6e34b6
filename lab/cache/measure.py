"""Prints what the semantic cache serves, and how often wrongly, by kind of pair.

    python -m lab.cache.measure [--part test] [--model NAME]

With evidence: SQuAD's questions over three passages each, judged by `tiffin.grounding.same` as the
`recall` stage does, and with --model also as it does if a tier with that LLM is asked. Without: the
public pairs by wording and cosine alone, which Tiffin does not serve from. Each next to a plain
threshold on MiniLM's cosine.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from lab.answers.data import CACHE, Part
from lab.answers.scores import Scores
from lab.cache.data import Pair, judged, near_repeats, paraphrases, public, traps
from lab.cache.scored import ScoredPair, score
from lab.opinions import Opinions
from tiffin.cli.figures import at_most, wilson
from tiffin.config.caching import CacheSettings
from tiffin.grounding.same import LEAST_COSINE, RULES_FROM, differences

PLAIN_COSINE = 0.95
TRAPS_A_KIND = 150
MORE_TRAPS = 60
NEAR_REPEATS = 80
BOUNDS = (0.015, 0.02)
EACH = 6
"""Of so many pairs one is in the sample."""
WRONG_HITS = CacheSettings().wrong_hits
SAID = CACHE / "cache-said.sqlite"
"""What LLMs said of pairs."""

Serves = Callable[[ScoredPair], bool]


def verified(item: ScoredPair, wrong_hits: float = WRONG_HITS, *, confirmed: bool = False) -> bool:
    """What the `recall` stage decides if the kept answer quotes what answers the first question.

    `confirmed` if it also goes by what an LLM leans to, of pairs of which one was asked.
    """
    kept, near = item.kept(), item.near()
    if item.cosine < LEAST_COSINE or kept is None:
        return False
    if not confirmed:
        near = near._replace(leaning=None)
    return not differences(kept, item.new(), near, wrong_hits)


async def asked(scored: Sequence[ScoredPair], opinions: Opinions) -> list[ScoredPair]:
    """The same pairs with what an LLM leans to; those of a kept question follow each other."""
    found: dict[int, ScoredPair] = {}
    for at in sorted(range(len(scored)), key=lambda at: scored[at].pair.asked):
        if sys.stderr.isatty():
            print(f"\r{len(found)} of {len(scored)}", end="", file=sys.stderr)  # noqa: T201
        found[at] = await scored[at].asked_of(opinions)
    await opinions.close()
    return [found[at] for at in range(len(scored))]


def without_head(item: ScoredPair) -> bool:
    """The same with a reranker that the head was not made for, if the bound admits its rules."""
    return verified(replace(item, paired=None), RULES_FROM)


def plain(item: ScoredPair) -> bool:
    """A threshold on the cosine, as the popular caches have it."""
    return item.cosine >= PLAIN_COSINE


def table(scored: Sequence[ScoredPair], judges: dict[str, Serves]) -> Iterator[str]:
    """A line for each kind of pair, then the traps and the pairs that fit together."""
    yield f"| pairs | n | {' | '.join(judges)} |"
    yield f"|---|---|{'---|' * len(judges)}"
    kinds = list(dict.fromkeys(item.pair.kind for item in scored))
    for kind in sorted(
        kinds, key=lambda kind: next(i.pair.fits for i in scored if i.pair.kind == kind)
    ):
        yield _line(kind, [item for item in scored if item.pair.kind == kind], judges.values())
    for name, fits in (("**all traps**", False), ("**all that fit**", True)):
        if rows := [item for item in scored if item.pair.fits == fits]:
            yield _line(name, rows, judges.values())


def _line(name: str, rows: Sequence[ScoredPair], judges: Iterable[Serves]) -> str:
    cells = []
    for judge in judges:
        hits = np.array([judge(row) for row in rows])
        served, share = int(hits.sum()), wilson(hits)
        bound = f"at most {at_most(served, len(rows)):.1%}"
        if rows[0].pair.fits:
            bound = f"{share.low:.1%} to {share.high:.1%}"
        cells.append(f"{served} ({served / len(rows):.1%}, {bound})")
    return f"| {name} | {len(rows)} | {' | '.join(cells)} |"


def write_sample(scored: Sequence[ScoredPair], path: Path) -> None:
    """One pair in `EACH`, without its passages, so that a test needs no model."""
    rows = [
        replace(item, pair=replace(item.pair, passages=(), answers=item.pair.answers[:1]))
        for item in scored[::EACH]
    ]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def read_sample(path: Path) -> list[ScoredPair]:
    """What `write_sample` wrote."""
    return [msgspec.json.decode(line, type=ScoredPair) for line in path.read_bytes().splitlines()]


def with_evidence(part: Part, skip: int = 0, *, as_made: bool = False) -> list[Pair]:
    """The pairs over SQuAD's passages; of traps only those after so many of a kind, if any.

    `as_made` leaves out what the judges say of them.
    """
    if skip:
        pairs = list(traps(part, MORE_TRAPS, skip))
    else:
        fit = [*paraphrases(part), *near_repeats(part, NEAR_REPEATS)]
        pairs = [*fit, *traps(part, TRAPS_A_KIND)]
    return pairs if as_made else list(map(judged, pairs))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("development", "test"), default="test")
    parser.add_argument("--model", help="an LLM of the catalogue that is asked too")
    parser.add_argument("--sample", type=Path, help="write one pair in six for the tests")
    parser.add_argument("--as-made", action="store_true", help="leave the judges out")
    parser.add_argument("--skip", type=int, default=0, help="only traps after so many of a kind")
    parser.add_argument("--scores", type=Path, default=CACHE / "cache-scores.sqlite")
    options = parser.parse_args()
    scores = Scores(options.scores, threads=2)
    print("With evidence (SQuAD):")  # noqa: T201
    pairs = with_evidence(options.part, options.skip, as_made=options.as_made)
    scored = [
        score(pair, scores, whole=bool(options.sample) and number % EACH == 0)
        for number, pair in enumerate(pairs)
    ]
    judges: dict[str, Serves] = {
        f"wrong_hits {bound}": partial(verified, wrong_hits=bound)
        for bound in (WRONG_HITS, *BOUNDS)
    }
    if options.model:
        scored = asyncio.run(asked(scored, Opinions(options.model, SAID, threads=2)))
        judges |= {
            f"wrong_hits {bound}, {options.model}": partial(
                verified, wrong_hits=bound, confirmed=True
            )
            for bound in (WRONG_HITS, *BOUNDS)
        }
    judges |= {"without the head": without_head, f"cosine {PLAIN_COSINE}": plain}
    for line in table(scored, judges):
        print(line)  # noqa: T201
    if options.sample:
        write_sample(scored, options.sample)
    print("\nWithout evidence (fow-cache):")  # noqa: T201
    scored = [score(pair, scores) for pair in public(options.part)]
    for line in table(scored, {f"cosine {PLAIN_COSINE}": plain}):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
