"""A committed sample of the test part: wrong hits of the semantic cache stay below their bound.

It is of `lab.cache.measure --model qwen2.5-coder-1.5b-instruct --sample FILE`, and holds one pair
in six with the evidence of both questions and what the LLM leans to, so that no model is needed;
the sentences are of SQuAD (CC BY-SA 4.0). The full figures are in docs/cache.md.
"""

from functools import partial
from pathlib import Path

from lab.cache.measure import plain, read_sample, verified
from tiffin.cli.figures import at_most

SAMPLE = Path(__file__).parents[1] / "data" / "cache_pairs.jsonl"
MOST_WRONG = 0.01
LEAST_PARAPHRASES = 0.2
LEAST_REPEATS = 0.7


def test_wrong_hits_stay_below_one_in_a_hundred_and_paraphrases_are_served() -> None:
    pairs = read_sample(SAMPLE)
    traps = [item for item in pairs if not item.pair.fits]
    wrong = [item.pair for item in traps if verified(item)]
    assert len(traps) >= 150
    assert len(wrong) <= MOST_WRONG * len(traps), wrong
    for kind, least in (("paraphrase", LEAST_PARAPHRASES), ("near repeat", LEAST_REPEATS)):
        fit = [item for item in pairs if item.pair.kind.endswith(kind)]
        assert sum(map(verified, fit)) >= least * len(fit), kind


def test_a_tier_that_reads_both_questions_serves_more_and_is_wrong_no_more_often() -> None:
    pairs = read_sample(SAMPLE)
    told = partial(verified, confirmed=True)
    traps = [item for item in pairs if not item.pair.fits]
    fit = [item for item in pairs if item.pair.kind.endswith("paraphrase")]
    assert sum(map(told, fit)) > sum(map(verified, fit))
    assert sum(map(told, traps)) <= MOST_WRONG * len(traps)


def test_a_threshold_on_the_cosine_alone_would_be_wrong_much_more_often() -> None:
    traps = [item for item in read_sample(SAMPLE) if not item.pair.fits]
    assert sum(map(plain, traps)) > 10 * max(1, sum(map(verified, traps)))


def test_the_bound_of_a_share_is_the_exact_one() -> None:
    assert round(at_most(0, 300), 5) == 0.00994
    assert at_most(10, 10) == 1
