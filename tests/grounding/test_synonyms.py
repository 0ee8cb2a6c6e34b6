"""Which words mean the same, by WordNet's table."""

import pytest

from tiffin.grounding.synonyms import opposite, same


@pytest.mark.parametrize(
    ("one", "other"),
    [("purchased", "bought"), ("separates", "divided"), ("kids", "children"), ("drew", "drawing")],
)
def test_words_in_any_form_mean_the_same(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("kitten", "puppy"), ("born", "buried"), ("king", "queen"), ("x", "y")]
)
def test_what_is_only_alike_does_not(one: str, other: str) -> None:
    assert not same(one, other)


def test_opposites() -> None:
    assert opposite("narrow", "wider")
    assert opposite("ended", "begins")
    assert not opposite("tower", "bridge")
