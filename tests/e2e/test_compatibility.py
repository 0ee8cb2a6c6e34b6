"""Every client of docs/compatibility.md does what the page says, with the real stack."""

import pytest

from tests.compat.report import PAGE, page, run, unversioned
from tests.support.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(900)  # a minute and a half alone on two cores
@pytest.mark.parametrize("stack", ["source"], indirect=True)
def test_every_client_can_do_what_the_page_says(stack: Stack) -> None:
    verdicts = run(stack.url)
    surprises = {f"{one.client}: {one.call}": one.surprise for one in verdicts if one.surprise}
    assert surprises == {}
    assert unversioned(page(verdicts)) == unversioned(PAGE.read_text()), "`make compat` writes it"
