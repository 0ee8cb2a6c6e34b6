"""The page at `/` as a person uses it: real models, and Chromium under the page's own policy.

Needs `make browser-setup` and a Chromium (`apt-get install chromium`). With PLAYGROUND_SHOTS=FOLDER
the screenshots of docs/playground.md are written there.
"""

import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack, running_stack
from tiffin.traffic.keys import KeyFile

sync_api: Any = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: `make browser-setup` installs it"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("PLAYGROUND_SHOTS")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `apt-get install chromium`"),
]

ANSWER_MS = 60_000
LIGHT, DARK = {"color_scheme": "light"}, {"color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}}
SMALL_PHONE = {"viewport": {"width": 320, "height": 640}}
GUARANTEE, DELIVERY, CARDS = 0, 1, 3
"""Example questions by their position: quoted, in disagreement, refused."""


@pytest.fixture(scope="module")
def chromium() -> Generator[Any, None, None]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    """From the source alone; that a Bento has the page too is in test_stack.py."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def page(chromium: Any, stack: Stack, request: pytest.FixtureRequest) -> Generator[Any, None, None]:
    """The page, opened. Anything that it asks of another host, or logs as an error, fails."""
    options = getattr(request, "param", {})
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("request", lambda sent: _note_elsewhere(sent.url, stack.url, wrong))
    opened.on("console", lambda line: wrong.extend([line.text] if line.type == "error" else []))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(f"{stack.url}/")
    opened.wait_for_selector("#status[data-state=ready]")
    yield opened
    context.close()
    assert wrong == []


def _note_elsewhere(url: str, ours: str, wrong: list[str]) -> None:
    if not url.startswith(ours):
        wrong.append(f"asked {url}")


def ask_example(page: Any, number: int) -> None:
    page.locator(".chip").nth(number).click()
    answered(page)


def answered(page: Any, answers: int = 1) -> None:
    expect = sync_api.expect
    expect(page.locator(".details")).to_have_count(answers, timeout=ANSWER_MS)
    expect(page.locator("#go")).to_have_text("Ask", timeout=ANSWER_MS)


def shoot(page: Any, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(400)  # until colours and the scrolling have settled
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_the_first_click_answers_and_a_citation_shows_its_quote(page: Any) -> None:
    ask_example(page, GUARANTEE)
    cited = page.locator(".cited").first
    assert "25 years" in cited.inner_text()
    cited.locator("button").click()
    mark = page.locator("mark")
    assert mark.count() == 1
    assert "25 years" in mark.inner_text()
    assert cited.locator("button").get_attribute("aria-pressed") == "true"
    assert "25 years" in page.locator("#said").inner_text()
    shoot(page, "citation")


def test_a_disagreement_is_shown_with_both_documents(page: Any) -> None:
    ask_example(page, DELIVERY)
    both = page.locator(".disagree .pair").first.inner_text()
    assert "3.90" in both
    assert "2.50" in both
    assert "Newsletter" in both
    shoot(page, "disagreement")


@pytest.mark.parametrize("page", [DARK], indirect=True)
def test_a_refusal_looks_like_one(page: Any) -> None:
    ask_example(page, CARDS)
    assert "refused" in page.locator(".answer").get_attribute("class")
    assert page.locator(".cite").count() == 0
    assert "Not found in the documents" in page.locator(".verdict").inner_text()
    shoot(page, "dark-refusal")


def test_two_tiers_answer_side_by_side(page: Any) -> None:
    page.select_option("#model", "quote")
    page.select_option("#other", "small")
    page.locator(".chip").nth(GUARANTEE).click()
    answered(page, 2)
    tiers = page.locator(".bill dd:first-of-type").all_inner_texts()
    assert tiers == ["quote", "small"]
    shoot(page, "compare")


def test_a_text_of_my_own_is_answered_from_by_keyboard_alone(page: Any) -> None:
    page.get_by_role("button", name="Remove all").click()
    page.get_by_label("Paste a text").focus()
    page.keyboard.type("The harbour master of Lerwick is called Ola Nicolson.")
    page.locator("#question").focus()
    page.keyboard.type("Who is the harbour master of Lerwick?")
    page.keyboard.press("Enter")
    answered(page)
    assert "Ola Nicolson" in page.locator(".answer").inner_text()
    page.locator(".cite").first.focus()
    page.keyboard.press("Enter")
    assert "Ola Nicolson" in page.locator("mark").inner_text()


def test_files_are_added_and_what_is_no_text_is_refused(page: Any, tmp_path: Path) -> None:
    text, image = tmp_path / "opening.md", tmp_path / "picture.png"
    text.write_text("We open at nine.")
    image.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    before = page.locator("#document-list li").count()
    page.set_input_files("#files", [text, image])
    sync_api.expect(page.locator("#document-list li")).to_have_count(before + 1)
    assert "opening" in page.locator("#document-list").inner_text()
    assert "picture.png" in page.locator("#documents-note").inner_text()


def test_the_snippets_are_what_was_sent(page: Any) -> None:
    with page.expect_request("**/v1/rag") as sent:
        ask_example(page, GUARANTEE)
    for language in ("curl", "Python", "JavaScript"):
        page.get_by_role("button", name=language, exact=True).click()
        code = page.locator("#code code").inner_text()
        assert sent.value.url in code
        assert sent.value.post_data_json["query"] in code
        assert sent.value.post_data_json["documents"][0]["text"] in code


@pytest.mark.parametrize("page", [PHONE, SMALL_PHONE], indirect=True)
def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    ask_example(page, GUARANTEE)
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= shown
    page.evaluate("scrollTo(0, 0)")
    shoot(page, f"phone-{shown}")


@pytest.mark.parametrize("page", [LIGHT, DARK], indirect=True)
def test_axe_finds_nothing(page: Any) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright")
    for number in (None, DELIVERY, CARDS):
        if number is not None:
            ask_example(page, number)
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_with_keys_the_page_asks_for_one_and_keeps_it_in_the_tab(
    chromium: Any, tmp_path: Path
) -> None:
    key = KeyFile(tmp_path / "keys.json").create("app")
    with running_stack(tmp_path, TIFFIN_ACCESS__KEYS_FILE=str(tmp_path / "keys.json")) as stack:
        opened = chromium.new_page()
        opened.goto(f"{stack.url}/")
        sync_api.expect(opened.locator("#banner")).to_contain_text("asks for an API key")
        opened.get_by_role("button", name="API key").click()
        opened.get_by_label("API key").last.fill(key)
        opened.get_by_role("button", name="Use it").click()
        sync_api.expect(opened.locator("#banner")).to_be_hidden()
        ask_example(opened, GUARANTEE)
        assert "$TIFFIN_API_KEY" in opened.locator("#code code").inner_text()
        assert key not in opened.content()
        assert not re.search("tiffin-", opened.evaluate("JSON.stringify(localStorage)"))
        opened.close()
