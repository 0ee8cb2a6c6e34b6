"""Numbers, units, names and negations, as people write them."""

import pytest

from tiffin.grounding.quantities import numbers, quantities
from tiffin.grounding.wording import names, negations, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a two-year warranty", {(2.0, "year")}),
        ("2 years", {(2.0, "year")}),
        ("1,450 m and 3.5 km", {(1450.0, "metre"), (3.5, "kilometre")}),
        ("twenty-five thousand people", {(25000.0, None)}),
        ("3,5 Liter", {(3.5, "litre")}),
        ("two hundred and five days", {(205.0, "day")}),
        ("$3.2 million in 1999", {(3_200_000.0, "dollar"), (1999.0, None)}),
        ("5 000 years", {(5000.0, "year")}),
        ("one of them came second", set()),
        ("one year", {(1.0, "year")}),
        ("£20 or €4.90", {(20.0, "pound"), (4.9, "euro")}),
        ("two thousand three hundred", {(2300.0, None)}),
        ("two and three", {(2.0, None), (3.0, None)}),
        ("two hundred and then", {(200.0, None)}),
        ("99 %", {(99.0, "percent")}),
    ],
)
def test_a_quantity_is_the_same_in_words_and_in_digits(
    text: str, expected: set[tuple[float, str | None]]
) -> None:
    assert quantities(text) == expected


def test_a_long_run_of_digits_and_scales_is_a_number() -> None:
    assert numbers("9" * 400 + " million " * 50) is not None


def test_names_are_what_has_a_capital_amid_a_sentence() -> None:
    text = "The CEO of Acme is Elon Musk. He lives in New York. NASA called."
    assert names(text) == {"ceo", "acme", "elon", "musk", "new", "york", "nasa"}


def test_words_are_compared_by_stem_and_dense_scripts_by_pairs() -> None:
    assert words("He measured the bridges") == words("measuring a bridge")
    assert words("泳池的水温") & words("水温是二十四度")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It is covered.", 0),
        ("It isn't covered.", 1),
        ("Dogs are not allowed, nor are cats.", 2),
        ("Not only this. No more than 400 euros.", 0),
        ("Das ist nicht erlaubt.", 1),
        ("这里没有停车场", 1),
    ],
)
def test_negations_are_counted(text: str, count: int) -> None:
    assert negations(text) == count
