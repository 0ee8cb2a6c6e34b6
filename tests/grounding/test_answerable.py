"""The head that ships: what it says rises with the scores, and files of others are refused."""

# Texts hold characters of many scripts.
# ruff: noqa: RUF001

import json
from pathlib import Path

import pytest

from tiffin.grounding.answerable import SHIPPED, WITHOUT_READINGS, Head, HeadError, features
from tiffin.grounding.evidence import Passage, Said, candidates
from tiffin.grounding.language import language_of, refusal
from tiffin.grounding.questions import asks, fits

PLAIN = Head.load(WITHOUT_READINGS)
PASSAGE = Passage(0, "The bridge was opened in 1931. Alma Kell drew it.", 6.0)


def probability(question: str, logit: float) -> float:
    passage = Passage(0, PASSAGE.text, logit)
    found = candidates(question, [passage])
    said = Said([logit, *([-9.0] * (len(found) - 1))])
    return PLAIN.probability(features(question, [passage], found, said))


def test_a_high_score_answers_and_a_low_one_does_not() -> None:
    assert probability("When was the bridge opened?", 7.0) > 0.9
    assert probability("When was the bridge opened?", -11.0) < PLAIN.threshold(0.05)


def test_a_name_that_occurs_nowhere_counts_against_an_answer() -> None:
    assert probability("When was the Acme bridge opened?", 0.0) < probability(
        "When was the bridge opened?", 0.0
    )


def test_no_passage_at_all_is_refused() -> None:
    for head in (Head.load(), PLAIN):
        assert head.probability(features("Why?", [], [], Said(()))) < head.threshold(0.05)


def test_a_higher_wanted_rate_refuses_more() -> None:
    head = Head.load()
    rates = [head.threshold(rate) for rate in (0.0, 0.01, 0.04, 0.05, 0.1, 0.2, 0.9)]
    assert rates == sorted(rates)


def test_a_file_for_other_features_is_refused(tmp_path: Path) -> None:
    content = json.loads(SHIPPED.read_text())
    content["features"].pop("sentence")
    path = tmp_path / "head.json"
    path.write_text(json.dumps(content))
    with pytest.raises(HeadError, match="other features"):
        Head.load(path)
    path.write_text("{")
    with pytest.raises(HeadError, match="not a head"):
        Head.load(path)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    head = Head.load()
    head.save(tmp_path / "head.json")
    assert (tmp_path / "head.json").read_text() == SHIPPED.read_text()


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who drew it?", "person"),
        ("When was it opened?", "time"),
        ("How many lanes has it?", "amount"),
        ("What does the ticket cost?", "amount"),
        ("Where is it?", "place"),
        ("May I bring a dog?", "yes-no"),
        ("If I move, do I get my money back?", "yes-no"),
        ("What is it made of?", "other"),
    ],
)
def test_a_question_asks_for_a_kind_of_answer(question: str, kind: str) -> None:
    assert asks(question) == kind


def test_the_kind_of_answer_is_seen_in_the_text() -> None:
    assert fits("What does it cost?", "It costs 5 euros.") == 1
    assert 0 < fits("What does it cost?", "It holds 5 litres.") < 1
    assert fits("What does it cost?", "It is cheap.") == 0
    assert fits("Who drew it?", "It was drawn by Alma Kell.") == 1
    assert fits("How many lanes are there?", "The bridge has two lanes.") == 1


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How long is the warranty?", "en"),
        ("Wie lange ist ein Gutschein gültig?", "de"),
        ("À quelle fréquence faut-il faire contrôler la chaudière ?", "fr"),
        ("¿Cuántos días de vacaciones tengo al año?", "es"),
        ("Quanto costa l'affitto al mese?", "it"),
        ("Onde ficam os servidores?", "pt"),
        ("Hoe lang is de garantie?", "nl"),
        ("泳池的水温是多少？", "zh"),
        ("保証期間はどのくらいですか。", "ja"),
        ("보증 기간은 얼마나 됩니까?", "ko"),
        ("كم مدة الضمان؟", "ar"),
        ("Сколько длится гарантия?", "ru"),
        ("वारंटी कितने समय की है?", "hi"),
        ("F28?", "en"),
        ("", "en"),
    ],
)
def test_a_refusal_is_in_the_language_of_the_question(text: str, language: str) -> None:
    assert language_of(text) == language
    assert refusal(language)
