"""Which sentences are scored, which are kept, and what a quote made of them is."""

import time

import pytest

from tiffin.grounding.evidence import (
    MAX_PAIRS,
    Candidate,
    Passage,
    Said,
    candidates,
    distinct,
    evidence,
    leading,
)
from tiffin.grounding.quote import answer_of, contradictions, quotable, quotes, utf16

BRIDGE = Passage(4, "Kell drew the bridge. It was opened in 1931. Its span measures 212 m.", 5.0)
GUIDE = Passage(7, "At 240 m its span is the longest 😀. Dogs are welcome.", 3.0)


def scored(question: str, *passages: Passage) -> tuple[list[Candidate], list[float]]:
    """Candidates with a logit that is the place of their passage and of their sentence."""
    found = candidates(question, passages)
    return found, [item.passage.logit - item.sentence.start / 1000 for item in found]


def test_equal_and_near_equal_passages_count_once() -> None:
    passages = [
        Passage(0, "The shop in the old harbour opens at ten and closes at six.", 1.0),
        Passage(1, "the shop in the old harbour opens at ten and  closes at six!", 2.0),
        Passage(2, "The shop in the old harbour opens at 11 and closes at six.", 0.5),
    ]
    assert [passage.index for passage in distinct(passages)] == [1, 2]


def test_a_thousand_copies_of_a_passage_are_one_in_time() -> None:
    start = time.process_time()
    found = candidates("When was it opened?", [Passage(i, BRIDGE.text, 1.0) for i in range(1000)])
    assert len(found) == 3
    assert time.process_time() - start < 1


def test_the_call_is_bounded_and_takes_those_that_share_words() -> None:
    many = " ".join(f"Line number {i} is of no interest." for i in range(200))
    passage = Passage(0, f"{many} The harbour opened in 1931.", 1.0)
    found = candidates("When did the harbour open?", [passage])
    assert len(found) == MAX_PAIRS
    assert "The harbour opened in 1931." in [item.text for item in found]


def test_a_sentence_in_other_words_leads_by_its_reading() -> None:
    texts = ["The bridge has been closed today.", "Kell drew it.", "Dogs are welcome."]
    found = candidates("Who was the architect?", [Passage(0, " ".join(texts), -11.0)])
    said = Said([-10.0, -11.0, -11.0], readings=[-9.0, 2.0, -9.0])
    kept, said_of_kept = leading(found, said, limit=1)
    assert [item.text for item in kept] == ["Kell drew it."]
    assert (said_of_kept.logits, said_of_kept.readings) == ([-11.0], [2.0])


def test_a_sentence_that_leans_on_the_one_before_comes_with_it() -> None:
    found = candidates("When was the bridge opened?", [BRIDGE])
    best = evidence("When was the bridge opened?", found, Said([0.0, 9.0, -3.0]), limit=1)
    assert best[0].text == "Kell drew the bridge. It was opened in 1931."


def test_evidence_from_two_passages_is_kept_when_a_question_names_both() -> None:
    passages = [
        Passage(0, "The Heron 5 weighs 20 kg. The Heron 5 is red.", 4.0),
        Passage(1, "The Ibis 7 weighs 25 kg.", 3.0),
    ]
    question = "What do the Heron and the Ibis weigh?"
    found = candidates(question, passages)
    best = evidence(question, found, Said([5.0, 4.0, 3.5]), limit=2)
    assert {item.passage.index for item in best} == {0, 1}


def test_a_quote_is_a_span_of_its_passage_and_of_the_answer() -> None:
    found, logits = scored("How long is the span?", BRIDGE, GUIDE)
    chosen = evidence("How long is the span?", found, Said(logits), limit=3)
    result = quotes(chosen)
    answer = answer_of(result)
    texts = {4: BRIDGE.text, 7: GUIDE.text}
    for quote in result:
        assert texts[quote.passage][quote.start : quote.end] == quote.text
        assert answer[quote.at : quote.at + len(quote.text)] == quote.text


def test_neighbours_become_one_quote_and_strangers_stay_apart() -> None:
    found = candidates("When was it opened, and how long is it?", [BRIDGE, GUIDE])
    logits = [-9.0, 9.0, 8.0, -9.0, -9.0]
    chosen = evidence("When was it opened, and how long is it?", found, Said(logits), limit=2)
    assert [quote.text for quote in quotes(chosen)] == [BRIDGE.text]
    assert len(quotable(chosen)) == 2, "each for itself, the best first"
    apart = evidence("q", [found[0], found[3]], Said([1.0, 0.0]), limit=2)
    assert answer_of(quotes(apart)).count("\n") == 1


def test_a_sentence_next_door_is_not_quoted_unless_it_contradicts() -> None:
    question = "How long is the span of the bridge?"
    best = Passage(0, "The span of the bridge is 212 m long.", 6.0)
    near = Passage(1, "The bridge in the next town is painted red.", 0.0)
    other = Passage(2, "The span of the bridge is 240 m long.", 0.0)
    for passage, count in ((near, 1), (other, 2)):
        found, logits = scored(question, best, passage)
        chosen = evidence(question, found, Said(logits))
        assert len(quotes(chosen)) == len(quotable(chosen)) == count, passage.text


def test_figures_that_differ_are_named() -> None:
    passages = [
        Passage(0, "Its main span measures 212 m.", 1),
        Passage(1, "At 240 m its main span is long.", 1),
    ]
    chosen = evidence("span", candidates("span", passages), Said([2.0, 1.0]), limit=2)
    assert [(a.passage.index, b.passage.index) for a, b in contradictions(chosen)] == [(0, 1)]
    same = [
        Passage(0, "Its main span measures 212 m.", 1),
        Passage(1, "The main span has 212 metres.", 1),
    ]
    assert not contradictions(evidence("span", candidates("span", same), Said([2.0, 1.0]), limit=2))


def test_utf16_counts_what_javascript_counts() -> None:
    text = "a😀b"
    assert [utf16(text, at) for at in range(4)] == [0, 1, 3, 4]


@pytest.mark.parametrize("text", ["", "...", "x" * 10_000, "1 2 3 " * 1000, "混ぜた scripts текст"])
def test_odd_passages_give_evidence_or_none(text: str) -> None:
    found = candidates("Why?", [Passage(0, text, -11.0)])
    chosen = evidence("Why?", found, Said([-11.0] * len(found)))
    answer_of(quotes(chosen))
