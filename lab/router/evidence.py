"""Which questions over evidence the small tier gets wrong that a better reader would not.

    python -m lab.router.evidence

Reads `own_tiers.jsonl`. In the first tables a strong tier is taken to answer whatever the evidence
holds; each way to choose gives a question a score, and its figure is how often a question that the
small tier gets wrong stands above one that it gets right (AUC). The last table has the shares of
right answers of quoting, of both tiers, and of mixes of them. Nothing is fitted.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lab.answers.report import auc, figure
from lab.router.own_tiers import FILE, TIERS
from tiffin.cli.figures import interval
from tiffin.pipeline.question import DECISIVE
from tiffin.routing import rules

WAYS: Mapping[str, Callable[[dict[str, object]], float]] = {
    "best sentence's logit, negated": lambda row: -_feature(row, "sentence"),
    "best passage's logit, negated": lambda row: -_feature(row, "passage"),
    "answerability, negated": lambda row: -float(str(row["answerable"])),
    "length": lambda row: float(len(str(row["question"]))),
    "keyword rules": lambda row: float(rules.demand_of(str(row["question"])) is not None),
}
KINDS = {
    "all": ("sample", "nearest", "everyday", "reworded"),
    "SQuAD": ("sample", "nearest"),
    "everyday and reworded": ("everyday", "reworded"),
}


def _feature(row: dict[str, object], name: str) -> float:
    features = row["features"]
    assert isinstance(features, dict)  # noqa: S101  JSON
    return float(features[name])


def main() -> None:
    """Print the table."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    for part in ("development", "test"):
        for kind, over in KINDS.items():
            own = [r for r in rows if r["part"] == part and r["held"] and r["over"] in over]
            wrong = np.array([not row["small"] for row in own])
            print(f"{part}, {kind}: {len(own)} questions, {wrong.sum()} wrong")  # noqa: T201
            for name, way in WAYS.items():
                print(line(name, np.array([way(row) for row in own]), wrong, own))  # noqa: T201
    both = [row for row in rows if row["part"] == "test" and "large" in row]
    print(*mixes(both), sep="\n")  # noqa: T201


def mixes(rows: Sequence[dict[str, object]]) -> list[str]:
    """Right answers of all questions, with 95 % intervals, and how many the large tier wrote."""
    right = {name: np.array([bool(row[name]) for row in rows]) for name in ("quote", *TIERS)}
    sure = np.array([float(str(row["answerable"])) >= DECISIVE for row in rows])
    asks: dict[str, NDArray[np.bool_]] = {}
    for name in ("best sentence's logit, negated", "length"):
        said = np.array([WAYS[name](row) for row in rows])
        asks[f"large for the upper half by {name}"] = said > np.median(said)
    none, every = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    found = {
        "quote": (right["quote"], none),
        "small": (right["small"], none),
        "large": (right["large"], every),
        "quote if decisive, else small": (np.where(sure, right["quote"], right["small"]), none),
        "quote if decisive, else large": (np.where(sure, right["quote"], right["large"]), ~sure),
    }
    for name, asked in asks.items():
        found[name] = (np.where(asked, right["large"], right["small"]), asked)
    groups = [str(row["group"]) for row in rows]
    result = [f"{len(rows)} answerable questions of the test part"]
    for name, (given, large) in found.items():
        result.append(f"| {name} | {figure(given.tolist(), groups)} | {large.mean():.0%} |")
    return result


def line(
    name: str, said: NDArray[np.float64], wrong: NDArray[np.bool_], own: Sequence[dict[str, object]]
) -> str:
    """A way to choose, with a 95 % interval over articles and texts."""
    groups = [str(row["group"]) for row in own]
    low, high = interval(groups, lambda drawn: auc(said[drawn], wrong[drawn]))
    return f"| {name} | {auc(said, wrong):.3f} | {low:.3f} to {high:.3f} |"


if __name__ == "__main__":
    main()
