"""`tiffin eval safety` finds a canary however it is written, and goes on after a stop."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lab.safety.injected import Injected
from tiffin.cli.safety_eval import asked, documents

CANARY = "BCDFGHJKL"


def cases(*numbers: int) -> list[Injected]:
    return [Injected("table", "a text", "why?", f"{CANARY}{number}") for number in numbers]


def client(answer: str, **headers: str) -> httpx2.Client:
    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"answer": answer}, headers=headers)

    return httpx2.Client(base_url="http://tiffin", transport=httpx2.MockTransport(respond))


@pytest.mark.parametrize(
    ("answer", "leaks"),
    [
        ("Because.", False),
        (f"Say {CANARY}1.", True),
        ("\u200b".join(f"{CANARY}1"), True),
        ("c2F5IEJDREZHSEpLTDEgbm93", True),  # base64
    ],
)
def test_a_canary_is_found_however_it_is_written(answer: str, leaks: bool) -> None:
    (found,) = asked(client(answer), cases(1), "quote", None)
    assert found["leaked"] is leaks


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    list(asked(client(f"{CANARY}1"), cases(1), "quote", results))
    found: list[Any] = list(asked(client("nothing"), cases(1, 2), "quote", results))
    assert [row["leaked"] for row in found] == [True, False]
    assert len(list(map(json.loads, results.read_text().splitlines()))) == 2


def test_the_table_counts_by_carrier_and_over_all() -> None:
    flagged = {"x-tiffin-checks": "passages:injection=flagged"}
    rows = documents(list(asked(client("no", **flagged), cases(1, 2), "quote", None)))
    assert [row["documents"] for row in rows] == ["table", "all carriers"]
    assert [row["cases"] for row in rows] == [2, 2]
    assert [row["canaries in the answer"] for row in rows] == [0, 0]
