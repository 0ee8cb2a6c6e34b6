"""What routing is worth on subjects, and on whole domains, that it has never seen.

    python -m lab.router.domains mmlu_outcomes.csv.gz --vectors vectors.npy --litellm scores.json

Questions of MMLU without their choices, as people ask, in MMLU's four domains. Subjects are
development or test by the hash of their name. From which nearness on the model may judge is chosen
on the development subjects, and the tables are of the test subjects.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.router.evaluation import SERVED, Worth, evaluate
from lab.router.outcomes import Outcomes, read_outcomes, widened
from lab.router.training import FOLDS, Difficulties, held_out, served, text_matrix

DOMAINS = {
    "science": "abstract_algebra anatomy astronomy college_biology college_chemistry"
    " college_computer_science college_mathematics college_physics computer_security"
    " conceptual_physics electrical_engineering elementary_mathematics high_school_biology"
    " high_school_chemistry high_school_computer_science high_school_mathematics"
    " high_school_physics high_school_statistics machine_learning",
    "humanities": "formal_logic high_school_european_history high_school_us_history"
    " high_school_world_history international_law jurisprudence logical_fallacies moral_disputes"
    " moral_scenarios philosophy prehistory professional_law world_religions",
    "social sciences": "econometrics high_school_geography high_school_government_and_politics"
    " high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality"
    " professional_psychology public_relations security_studies sociology us_foreign_policy",
}
"""As the authors of MMLU divide it; the other subjects are `other`."""

LEAST = (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 2.0)
"""What is tried: from always the model to never."""

MAY_LOSE = 0.01
"""Area, on domains never seen, of what is served against length alone."""

Rows = NDArray[np.intp]


def domain_of(subject: str) -> str:
    """Its domain."""
    return next((name for name, own in DOMAINS.items() if subject in own.split()), "other")


def is_test(subject: str) -> bool:
    """Half of the subjects, once and for all."""
    return hashlib.sha256(subject.encode()).digest()[0] % 2 == 1


def schemes(outcomes: Outcomes, seed: int) -> Mapping[str, Sequence[Rows]]:
    """What is held out at a time."""
    domains = np.array([domain_of(group) for group in outcomes.groups])
    whole = [np.flatnonzero(domains == name) for name in sorted(set(domains))]
    return {
        "subjects never seen": outcomes.folds(seed, FOLDS),
        "domains never seen": whole,
    }


def areas(said: Difficulties, outcomes: Outcomes, rows: Rows) -> dict[float, tuple[float, float]]:
    """For each nearness tried, the area of what is served on these rows, and that of length."""
    text, gain = text_matrix(outcomes.queries), outcomes.strong - outcomes.weak
    found = {}
    for least in LEAST:
        p_cheap = served(said.full, said.near, text, gain, least)
        one = Difficulties(said.full, said.near, p_cheap).take(rows)
        worths = {worth.name: worth for worth in worths_of([one], outcomes.take(rows), {})}
        found[least] = worths[SERVED].area, worths["length"].area
    return found


def worths_of(
    said: Sequence[Difficulties], outcomes: Outcomes, others: Mapping[str, NDArray[np.float64]]
) -> list[Worth]:
    """All ways to choose."""
    return evaluate(said, outcomes, weak_cost=0.01, others=others)


def main() -> None:
    """Choose on development, report on test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vectors", type=Path, required=True, help="of `tiffin router train`")
    parser.add_argument("--litellm", type=Path, help="of lab/router/litellm_scores.py")
    parser.add_argument("--queries", type=Path, help="write the queries for that, and end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    given = read_outcomes(options.data)
    outcomes = widened(given)
    if options.queries:
        options.queries.write_text(json.dumps(list(outcomes.queries)))
        return
    vectors = np.load(options.vectors)
    litellm = json.loads(options.litellm.read_text()) if options.litellm else None
    plain = np.arange(len(outcomes.queries)) >= len(given.queries)
    test = np.array([is_test(group) for group in outcomes.groups])
    domains = np.array([domain_of(group) for group in outcomes.groups])
    for scheme, folds in schemes(outcomes, options.seed).items():
        said = held_out(outcomes, vectors, folds, options.seed)
        print(f"## {scheme}")  # noqa: T201
        for least, (area, length) in areas(said, outcomes, np.flatnonzero(plain & ~test)).items():
            enough = "" if area >= length - MAY_LOSE else ", too far behind"
            print(f"development, from {least}: {area:.3f}, length {length:.3f}{enough}")  # noqa: T201
        for name in ("all", *sorted(set(domains))):
            rows = np.flatnonzero(plain & test & ((domains == name) | (name == "all")))
            others = {} if litellm is None else {"LiteLLM": np.array(litellm)[rows]}
            part = outcomes.take(rows)
            judged = float((said.near[rows] >= LEAST[3]).mean())
            print(*table(name, worths_of([said.take(rows)], part, others), part, judged), sep="\n")  # noqa: T201


def table(name: str, worths: Sequence[Worth], part: Outcomes, judged: float) -> list[str]:
    """The lines of a domain, as Markdown."""
    head = f"{name} ({len(part.queries)} questions of {len(set(part.groups))} subjects,"
    lines = [f"{head} the model judges {judged:.0%})"]
    for worth in worths:
        if worth.name.startswith("oracle"):
            continue
        low, high = worth.between
        behind = "" if worth.name == SERVED else "{:+.3f} to {:+.3f}".format(*worth.behind)
        lines.append(f"| {worth.name} | {worth.area:.3f} | {low:.3f} to {high:.3f} | {behind} |")
    return lines


if __name__ == "__main__":
    main()
