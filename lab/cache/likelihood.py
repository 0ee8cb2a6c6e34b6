"""What an LLM would add to the head of the semantic cache: the table of decision 0130.

    python -m lab.cache.likelihood FOLDER [--groups 150]

FOLDER is a transformers folder of an LLM with ChatML, such as `models.conversions.gguf.dequantise`
makes. The pairs are those of the development part that the guards leave. After a few examples the
LLM reads the sentence that supports the kept answer and both questions. A row of a pair holds

- how much likelier yes is than no as the next word, if asked whether one answer fits both;
- the log probability of the new question's least likely token, after the kept one;
- how much less likely SQuAD's answer is to the new question than to the kept one, in logs;
- its states where it would say yes or no, after five of six layers.

Nothing of this is shipped, and the test part is not read. Half an hour on two cores for 0.5 billion
parameters; what was read is kept.
"""

import argparse
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lab.answers.data import CACHE
from lab.answers.scores import Scores
from lab.cache import train
from lab.cache.measure import with_evidence
from lab.cache.reader import PASSES, Group, Reader, Row
from lab.cache.scored import ScoredPair, pair_states, score
from lab.logistic import Floats

DRAWS = (17, 1, 2, 3)
"""Seeds of the folds; the counts are means over the four."""
WRONG = (10, 17, 24, 43)
"""Of all 1,740 traps: the most at bounds of 0.01, 0.015 and 0.02, and more."""

NAMES = ("verdict", "least", "answer", "states")
SETS = ((), ("verdict",), ("least",), ("answer",), NAMES[:3], ("states",), NAMES)
"""What stands next to the head's own features, a line of the table each."""


def groups_of(left: Sequence[ScoredPair], most: int | None) -> list[Group]:
    """The pairs by their kept question, in an order drawn once, so that the first are a sample."""
    found: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for at, item in enumerate(left):
        kept = item.kept()
        assert kept is not None  # noqa: S101  left_to_the_head
        found[kept.support[0], kept.question, kept.answer].append(at)
    groups = [Group(*key, pairs) for key, pairs in found.items()]
    random.Random(5).shuffle(groups)  # noqa: S311
    return groups[:most]


def read(folder: Path, left: Sequence[ScoredPair], most: int | None) -> dict[int, Row]:
    """The row of each pair: verdict, least, answer, states. What was read before is looked up."""
    kept = sqlite3.connect(CACHE / f"likelihoods-{folder.resolve().name}.sqlite")
    kept.execute("create table if not exists said (name text primary key, value blob)")
    said: list[dict[int, Row]] = [{}, {}]
    for (examples, ask), rows in zip(PASSES, said, strict=True):
        reader: Reader | None = None
        for group in groups_of(left, most):
            again = [left[at].pair.again for at in group.pairs]
            name = "\n".join([ask.__name__, *group[:3], *again])
            sql = "select value from said where name = ?"
            if known := kept.execute(sql, (name,)).fetchone():
                values = np.frombuffer(known[0], np.float32).reshape(len(again), -1)
            else:
                reader = reader or Reader(folder, examples())
                values = np.array(list(ask(reader, group, again)))
                kept.execute("insert into said values (?, ?)", (name, values.tobytes()))
                kept.commit()
            rows |= dict(zip(group.pairs, values, strict=True))
    return {at: np.concatenate([row[:2], said[1][at], row[2:]]) for at, row in said[0].items()}


def table(
    left: Sequence[ScoredPair], rows: dict[int, Row], draws: Sequence[train.Rows]
) -> Iterator[str]:
    """A line for each set of features, over the pairs that the LLM has read."""
    at = sorted(rows)
    items = [left[one] for one in at]
    fits = np.array([item.pair.fits for item in items])
    wanted = np.array([item.pair.kind.endswith("paraphrase") for item in items])
    share = (~fits).sum() / sum(not item.pair.fits for item in left)
    _, own = train.features_of(items)
    values = np.array([rows[one] for one in at], np.float64)
    yield f"{wanted.sum()} paraphrases, {(~fits).sum()} traps are read"
    for names in SETS:
        counts = []
        for draw in draws:
            folds = draw.folds[at]
            states = train.Rows(values[:, 3:], fits, folds)
            columns = [draw.values[at], own]
            columns += [values[:, column] for column, name in enumerate(NAMES[:3]) if name in names]
            if "states" in names:
                columns.append(train.out_of_folds(states, train.RIDGE_OF_STATES))
            head = train.Rows(np.column_stack(columns), fits, folds)
            said = train.out_of_folds(head, train.RIDGE)
            wrong = np.sort(said[~fits])[::-1]
            limits = [wrong[min(round(most * share), len(wrong) - 1)] for most in WRONG]
            counts.append([float((said[wanted] > limit).sum()) for limit in limits])
        yield f"{' '.join(names) or 'the head alone'}: {np.mean(counts, axis=0).tolist()}"


def of_the_reranker(
    scored: Sequence[ScoredPair], left: Sequence[int], scores: Scores
) -> Iterator[train.Rows]:
    """For each draw of the folds, what the reranker's states say of the pairs out of them."""
    pairs = train.to_read([item.pair for item in scored])
    states = np.array([pair_states(pair, scores) for pair in pairs], np.float64)
    fits = np.array([pair.fits for pair in pairs])
    for seed in DRAWS:
        folds = train.folds_of(pairs, seed)
        said: Floats = train.out_of_folds(train.Rows(states, fits, folds), train.RIDGE_OF_STATES)
        yield train.Rows(said[left], fits[left], folds[left])


def main() -> None:
    """Read what is not read yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", type=int, help="only so many kept questions, drawn at random")
    parser.add_argument("--scores", type=Path, default=CACHE / "cache-scores.sqlite")
    options = parser.parse_args()
    scores = Scores(options.scores, threads=2)
    scored = [score(pair, scores) for pair in with_evidence("development")]
    positions = [at for at, item in enumerate(scored) if train.left_to_the_head(item)]
    left = [scored[at] for at in positions]
    rows = read(options.folder, left, options.groups)
    print(f"paraphrases served at {WRONG} traps of all")  # noqa: T201
    for line in table(left, rows, list(of_the_reranker(scored, positions, scores))):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
