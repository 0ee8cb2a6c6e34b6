"""The page at `/` as a person uses it: real models, and Chromium under the page's own policy.

Needs `make browser-setup` and a Chromium (`apt-get install chromium`). With PLAYGROUND_SHOTS=FOLDER
the screenshots of docs/playground.md are written there.
"""

import json
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import pdf
from tests.support.stack import Stack, running_stack
from tiffin.traffic.key_file import KeyFile

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

DATA = Path(__file__).parents[1] / "data"
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


def ask(page: Any, question: str) -> None:
    page.locator("#question").fill(question)
    page.keyboard.press("Enter")
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


def manual() -> bytes:
    """A PDF whose second page says, below a heading, what the pressure is."""
    lines = [f"Part {number} of the boiler is made of steel." for number in range(1, 36)]
    first = [(70, 790 - 20 * number, 10, text) for number, text in enumerate(lines)]
    second = [
        (70, 700, 16, "Pressure"),
        (70, 670, 10, "The pressure of the boiler must be between 1.2 and 1.8 bar."),
    ]
    return pdf([first, second])


def test_files_are_read_into_a_corpus_that_answers_with_the_page(page: Any, tmp_path: Path) -> None:
    (tmp_path / "Boiler.pdf").write_bytes(manual())
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    page.get_by_label("to the corpus").fill("House")
    page.set_input_files("#files", [tmp_path / "Boiler.pdf", tmp_path / "picture.png"])
    files = page.locator("#file-list li")
    sync_api.expect(files).to_have_count(2)
    sync_api.expect(page.locator("#file-list progress:visible")).to_have_count(0, timeout=ANSWER_MS)
    assert "passages" in files.nth(0).inner_text()
    assert "read its text by OCR first" in files.nth(1).inner_text()
    drop(page, "Opening.md", "We open at nine.")
    sync_api.expect(files).to_have_count(3)
    sync_api.expect(page.locator("#documents-note")).to_contain_text("asked", timeout=ANSWER_MS)
    ask(page, "What must the pressure of the boiler be?")
    page.locator(".cite").first.click()
    assert "1.2 and 1.8 bar" in page.locator("mark").inner_text()
    assert "Boiler.pdf, from page 2" in page.locator(".sources li.active summary").inner_text()
    assert "Boiler.pdf, from page 2" in page.locator("#said").inner_text()
    assert '"corpus": "House"' in page.locator("#code code").inner_text()
    shoot(page, "corpus")
    assert violations(page) == []


def test_a_corpus_outlives_the_page_until_it_is_deleted(page: Any, stack: Stack) -> None:
    page.get_by_label("to the corpus").fill("Short-lived")
    drop(page, "Opening.md", "We open at nine.")
    sync_api.expect(page.locator("#documents-note")).to_contain_text("asked", timeout=ANSWER_MS)
    page.goto(f"{stack.url}/")
    page.get_by_label("Answer from").select_option(label="Short-lived (1 file)")
    ask(page, "When do you open?")
    assert "nine" in page.locator(".answer").inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete this corpus").click()
    sync_api.expect(page.get_by_label("Answer from")).not_to_contain_text("Short-lived")


def drop(page: Any, name: str, text: str) -> None:
    """Let a file fall onto the page."""
    script = """([name, text]) => {
        const held = new DataTransfer();
        held.items.add(new File([text], name));
        return held;
    }"""
    held = page.evaluate_handle(script, [name, text])
    page.dispatch_event("body", "drop", {"dataTransfer": held})


def test_what_was_replaced_or_stopped_is_said(page: Any) -> None:
    """The server is made to say so: which sentence a model gets wrong is not known before."""
    answer = json.loads((DATA / "replaced.json").read_text())
    events = [
        {
            "object": "rag.sources",
            "id": "r",
            "sources": answer["sources"],
            "route": answer["route"],
        },
        {"object": "rag.stopped", "reason": "content_filter", "checks": ["toxicity"]},
        answer,
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream", "x-tiffin-cache": "semantic",
               "x-tiffin-cache-similarity": "0.9731", "age": "12"}  # fmt: skip
    page.route("**/v1/rag", lambda route: route.fulfill(body=body, headers=headers))
    ask_example(page, GUARANTEE)
    notes = page.locator(".notes").inner_text()
    assert "1 sentence of the model had no support, so a quote stands in its place" in notes
    assert "2 sentences of the model had no support and were left out" in notes
    assert "The safety policy ended or changed this answer: toxicity" in notes
    bill = page.locator(".bill").inner_text()
    assert "a question of the same meaning was answered 12 s ago (similarity 0.973)" in bill
    assert "personal data of the output: flagged" in bill
    assert "It is heavy.\n(no source)" in page.locator(".uncited").inner_text()
    assert violations(page) == []


def test_the_services_and_their_models_are_shown(page: Any) -> None:
    page.locator("#status").click()
    box = page.locator("#services")
    for word in ("Embedding", "all-minilm-l6-v2", "ready", "profile tiny"):
        sync_api.expect(box).to_contain_text(word)
    shoot(page, "services")


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
    for number in (None, DELIVERY, CARDS):
        if number is not None:
            ask_example(page, number)
        assert violations(page) == []


def violations(page: Any) -> list[tuple[str, str]]:
    """What axe finds: the rule and the first element."""
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found]


def test_with_keys_the_page_asks_for_one_and_keeps_it_in_the_tab(
    chromium: Any, tmp_path: Path
) -> None:
    key = KeyFile(tmp_path / "keys.json").create("app")
    keys = str(tmp_path / "keys.json")
    with running_stack(
        tmp_path, TIFFIN_ACCESS__KEYS_FILE=keys, TIFFIN_CACHE__EXACT="true"
    ) as stack:
        opened = chromium.new_page()
        opened.goto(f"{stack.url}/")
        sync_api.expect(opened.locator("#banner")).to_contain_text("asks for an API key")
        opened.get_by_role("button", name="API key").click()
        opened.get_by_label("API key").last.fill(key)
        opened.get_by_role("button", name="Use it").click()
        sync_api.expect(opened.locator("#banner")).to_be_hidden()
        ask_example(opened, GUARANTEE)
        assert "miss: no kept answer" in opened.locator(".bill").inner_text()
        ask_example(opened, GUARANTEE)
        assert "hit: the same question was answered" in opened.locator(".bill").inner_text()
        assert "from the cache" in opened.locator(".meta").inner_text()
        assert "$TIFFIN_API_KEY" in opened.locator("#code code").inner_text()
        assert key not in opened.content()
        assert not re.search("tiffin-", opened.evaluate("JSON.stringify(localStorage)"))
        opened.close()
