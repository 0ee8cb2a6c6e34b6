"""Every client of docs/compatibility.md does what the page says, with the real stack."""

from collections.abc import Iterable

import pytest

from tests.compat.report import (
    IN_JAVASCRIPT,
    PAGE,
    SCRIPTS,
    javascript_lacks,
    page,
    run,
    sections,
)
from tests.support.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),  # a minute and a half alone on two cores
    pytest.mark.parametrize("stack", ["source"], indirect=True),
]


def test_every_client_can_do_what_the_page_says(stack: Stack) -> None:
    assert_as_written(stack, SCRIPTS)


@pytest.mark.skipif(bool(javascript_lacks()), reason=javascript_lacks())
def test_every_client_in_javascript_can_do_what_the_page_says(stack: Stack) -> None:
    assert_as_written(stack, IN_JAVASCRIPT)


def assert_as_written(stack: Stack, names: Iterable[str]) -> None:
    verdicts = run(stack.url, names)
    surprises = {f"{one.client}: {one.call}": one.surprise for one in verdicts if one.surprise}
    assert surprises == {}
    found = sections(page(verdicts))
    written = sections(PAGE.read_text())
    assert found == {name: written.get(name) for name in found}, "`make compat` writes it"
