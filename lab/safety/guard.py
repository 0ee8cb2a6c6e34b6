"""What a model on an LLM tier is worth as a judge of `toxicity`: verdicts, recall, false positives.

    TIFFIN_SAFETY__MODERATOR='{"tier": "small", "instructions": "..."}' tiffin serve
    python -m lab.safety.guard http://localhost:3000 --tweets davidson_tweets.csv.gz

It asks `/v1/moderations` about tweets of the test part, half of them hateful or offensive. What is
no verdict is counted apart: a policy decides what follows from that.
"""

import argparse
import random
from pathlib import Path

import httpx2
import numpy as np

from lab.safety import data
from lab.safety.attacks import SEED
from lab.safety.report import show_table
from tiffin.cli.figures import wilson

EACH = 100
"""Tweets of either kind."""


def verdict(client: httpx2.Client, text: str) -> bool | None:
    """Whether it flags the text; None if it gave no verdict."""
    response = client.post("/v1/moderations", json={"input": text})
    if response.status_code != httpx2.codes.OK:
        return None
    flags = dict(response.json()["results"][0]["categories"])
    flags.pop("injection", None)
    return any(flags.values()) or bool(response.json()["results"][0]["flagged"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tweets", type=Path, required=True)
    parser.add_argument("--each", type=int, default=EACH)
    options = parser.parse_args()
    draw = random.Random(SEED)  # noqa: S311
    every = data.tweets(options.tweets, "test")
    rows = []
    with httpx2.Client(base_url=options.url, timeout=120) as client:
        for name, bad in (("abuse", True), ("harmless", False)):
            some = draw.sample([one.text for one in every if one.offensive == bad], options.each)
            said = [verdict(client, text) for text in some]
            given = np.array([one for one in said if one is not None], np.bool_)
            rows.append([name, str(len(some)), str(len(given)), str(wilson(given))])
    show_table(["tweets", "asked", "verdicts", "of these flagged"], rows)


if __name__ == "__main__":
    main()
