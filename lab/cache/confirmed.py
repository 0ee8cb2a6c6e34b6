"""Trains the head of the semantic cache that also reads what an LLM leans to.

    python -m lab.cache.confirmed [--model NAME] [--write]

That is `tiffin/grounding/alike_confirmed.json`. The LLM is asked, as `tiffin.pipeline.likeness`
does, about each pair of the development part that the guards leave. Its answer stands next to what
`lab.cache.train` reads; the rest is the same, but that this head learns from what was judged.
`lab.cache.measure --model NAME` measures it on the test part. The first run takes a quarter of an
hour on two cores.
"""

import argparse
import asyncio
from pathlib import Path

import numpy as np

from lab.answers.data import CACHE
from lab.answers.scores import Scores
from lab.cache import train
from lab.cache.measure import SAID, asked
from lab.opinions import Opinions
from tiffin.grounding.alike import CONFIRMED, MOST

MODEL = "qwen2.5-coder-1.5b-instruct"
SAME_WEIGHTS = f"{MODEL} {MODEL}-bf16"
"""The names under which the catalogue has the weights that are measured."""
DRAWS = (17, 1, 2, 3)
"""Seeds of the folds, to see how much hangs on them."""
WRONG = (10, 17, 24)
"""Of all traps, the most at bounds of 0.01, 0.015 and 0.02."""


def served(prepared: train.Prepared, head: train.Rows) -> list[int]:
    """Paraphrases that are served out of folds at so many traps."""
    said = train.out_of_folds(head, train.RIDGE)
    kinds = [prepared.scored[at].pair.kind for at in prepared.left]
    wanted = np.array([kind.endswith("paraphrase") for kind in kinds])
    wrong = np.sort(said[~prepared.right])[::-1]
    return [int((said[wanted] > wrong[most]).sum()) for most in WRONG]


def run(options: argparse.Namespace) -> None:
    """Read what is not read yet, print what it is worth, and write the head if that is wanted."""
    scores, column = Scores(options.scores, threads=2), None
    print(f"paraphrases served at {WRONG} traps, without the LLM and with it")  # noqa: T201
    for seed in DRAWS:
        prepared = train.prepare(scores, seed)
        if column is None:
            left = [prepared.scored[at] for at in prepared.left]
            items = asyncio.run(asked(left, Opinions(options.model, options.said, threads=2)))
            column = np.clip([item.leaning or 0.0 for item in items], -MOST, MOST)
        alone = prepared.head
        both = alone._replace(values=np.column_stack([alone.values, column]), fits=prepared.right)
        print(seed, served(prepared, alone), served(prepared, both))  # noqa: T201
        if seed == train.SEED:
            names, known = [*prepared.names, "leaning"], {"models": SAME_WEIGHTS}
            whole = prepared._replace(names=names, head=both, metadata=prepared.metadata | known)
            train.write_head(whole, CONFIRMED if options.write else Path("/dev/null"))


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "cache-scores.sqlite")
    parser.add_argument("--said", type=Path, default=SAID)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--write", action="store_true", help="write what is shipped")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
