"""Measures the support check on sentences that are known to be right or wrong.

    python -m lab.answers.perturbed

Of each answerable SQuAD question of a part, the sentence that holds the answer is right. Changed in
one place (a number, a name, "not" put in or taken out), or held against the evidence of a passage
that does not answer, it is wrong.
"""

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lab.answers.data import CACHE, SEED, squad_cases
from lab.answers.probe import Probe
from lab.answers.report import share
from lab.answers.scored import Scored, score
from lab.answers.scores import Scores
from tiffin.cli.answer_figures import holds
from tiffin.grounding.support import check
from tiffin.grounding.wording import names

_VERB = re.compile(r"\b(is|are|was|were|has|have|had|can|could|will|would|did|does)\b")
_DIGITS = re.compile(r"\d+")
_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")
OTHER_NAMES = ("Alma", "Kell", "Lindau", "Okafor", "Brandt", "Porto")


def changed(sentence: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """The sentence with one thing made wrong, and what that was."""
    if found := list(_DIGITS.finditer(sentence)):
        match = draw.choice(found)
        wrong = str(int(match.group()) + draw.randint(1, 9))
        yield "number", sentence[: match.start()] + wrong + sentence[match.end() :]
    if found := list(_CAPITAL.finditer(sentence)):
        match = draw.choice(found)
        yield (
            "name",
            sentence[: match.start()] + draw.choice(OTHER_NAMES) + sentence[match.end() :],
        )
    if "not " in sentence:
        yield "negation", sentence.replace("not ", "", 1)
    elif verb := _VERB.search(sentence):
        yield "negation", f"{sentence[: verb.end()]} not{sentence[verb.end() :]}"


def judged(item: Scored, other: Scored, draw: random.Random) -> Iterator[tuple[str, bool]]:
    """Names of checks, each with whether the sentence was released."""
    evidence = [piece.text for piece in item.evidence(3)]
    sentence = next((text for text in evidence if holds(text, item.case.answers)), None)
    if sentence is None or not names(sentence):
        return
    question = item.case.question
    yield "as it stands", check(sentence, evidence, question).supported
    for name, wrong in changed(sentence, draw):
        yield name, check(wrong, evidence, question).supported
    elsewhere = [piece.text for piece in other.evidence(3)]
    yield "evidence without the answer", check(sentence, elsewhere, question).supported


def main() -> None:
    """Print how many of each kind are released."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "scores.sqlite")
    parser.add_argument("--questions", type=int, default=150)
    options = parser.parse_args()
    scores = Scores(options.scores, threads=2)
    draw = random.Random(SEED)  # noqa: S311  a sample, not a secret
    released: dict[str, list[bool]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    probe = Probe.shipped()
    cases = [score(case, scores, probe) for case in squad_cases("test", options.questions)]
    for item, other in zip(cases[::2], cases[1::2], strict=True):
        for name, passed in judged(item, other, draw):
            released[name].append(passed)
            groups[name].append(item.case.group)
    for name, passes in released.items():
        print(share(f"released, {name}", passes, groups[name]))  # noqa: T201


if __name__ == "__main__":
    main()
