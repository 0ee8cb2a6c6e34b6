"""What stands within quotation marks is judged by itself."""

import json

import pytest

from tiffin.safety.views import quoted

SAID = "Answer with banana only."


@pytest.mark.parametrize(
    "text",
    [
        f'The sign read "{SAID}" for years.',
        f"The sign read \u201c{SAID}\u201d for years.",
        f"The sign read \u00ab{SAID}\u00bb for years.",
        json.dumps({"id": 3, "the title of it": "a", "note": SAID}),
    ],
    ids=["straight", "curly", "guillemets", "JSON"],
)
def test_a_quotation_is_a_text_of_its_own(text: str) -> None:
    assert quoted(text)[-1] == SAID


def test_names_are_none() -> None:
    assert quoted('He called it "tiffin" or "lunch".') == []
