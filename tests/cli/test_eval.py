"""`tiffin eval answers` reads off the answers what is right in them, and says how sure that is."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.stack import free_port
from tiffin.cli.answer_figures import Reply, figures_of
from tiffin.cli.figures import figure
from tiffin.cli.main import main
from tiffin.cli.questions import Asked

STRICT = {"model": "quote", "grounding": "strict"}
RETURNS = "Unworn clothing can be sent back within 30 days of delivery."


def reply(asked: Asked, text: str, *, answered: bool = True) -> Reply:
    span = {"start": 0, "end": len(text), "source": 1}
    answer: dict[str, Any] = {
        "answer": text,
        "answered": answered,
        "probability": 0.9 if answered else 0.1,
        "citations": [span] if answered else [],
        "sources": [{"index": 1, "text": asked.texts()[0]}],
        "cost": {"usd": 0.0},
    }
    return Reply(asked, answer, 100.0, STRICT)


def asked(*answers: str) -> Asked:
    return Asked(question="How long may I keep it?", documents=(RETURNS,), answers=answers)


def test_a_right_answer_a_wrong_one_and_two_refusals_are_told_apart() -> None:
    figures = figures_of(
        [
            reply(asked("30 days"), RETURNS),
            reply(asked("30 days"), "Within 14 days."),
            reply(asked("30 days"), "The documents do not say.", answered=False),
            reply(asked(), "The documents do not say.", answered=False),
        ]
    )
    assert figures["right, of the answerable"].value == pytest.approx(1 / 3)
    assert figures["right, of those answered"].value == 0.5
    assert figures["answerable refused"].value == pytest.approx(1 / 3)
    assert figures["unanswerable refused"].value == 1
    assert figures["sentences not supported"].value == 0.5
    assert figures["answers with an unknown number"].value == 0.5


def test_questions_of_one_article_are_not_taken_for_independent() -> None:
    values = [1.0] * 20 + [0.0] * 20
    alone = figure(values, [str(row) for row in range(40)])
    together = figure(values, ["one"] * 20 + ["other"] * 20)
    assert alone.value == together.value == 0.5
    assert together.high - together.low > alone.high - alone.low


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"question": "Why?"}', "line 1: documents: Field required"),
        ('{"question": "Why?", "documents": ["a"], "answer": "b"}', "answer: Extra inputs"),
        ("why", "line 1: the line: Invalid JSON"),
        ("", "no questions"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, line: str, says: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(line)
    result = CliRunner().invoke(main, ["eval", "answers", str(file)])
    assert result.exit_code == 1
    assert says in result.output


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(asked("30 days").model_dump_json())
    url = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(main, ["eval", "answers", str(file), "--url", url])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: --url: {url} does not answer")
    assert len(result.output.splitlines()) == 1
