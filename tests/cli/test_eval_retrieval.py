"""`tiffin eval retrieval`: what its figures mean, and how it reads a folder in BEIR's layout."""

import json
from pathlib import Path

import pytest

from lab.retrieval.__main__ import write
from tiffin.cli.retrieval import Found, Query, ndcg, of_folder, recall, reciprocal_rank
from tiffin.config.section import SettingsError

BOTH = Query("which?", frozenset({"a", "b"}), "q1")


def test_the_figures_are_those_of_the_textbook() -> None:
    found = Found(BOTH, ("x", "a", "y", "b"), 1.0)
    assert [recall(found, depth) for depth in (1, 2, 4)] == [0, 0.5, 1]
    assert reciprocal_rank(found) == 0.5
    assert ndcg(found) == pytest.approx((1 / 1.58496 + 1 / 2.32193) / (1 + 1 / 1.58496), abs=1e-4)
    nothing = Found(BOTH, ("x",), 1.0)
    assert (ndcg(nothing), reciprocal_rank(nothing)) == (0, 0)


def test_a_folder_is_read_with_what_was_judged_relevant(tmp_path: Path) -> None:
    rows = [
        {"question": f"who is {n}?", "knowledge": f"{n} is\u2028a person"} for n in ("Ada", "Bob")
    ]
    write(tmp_path, rows, passages=2, questions=2)
    passages, queries = of_folder(tmp_path)
    assert passages == {"h0": "Ada is\u2028a person", "h1": "Bob is\u2028a person"}
    assert [(query.text, query.relevant) for query in queries] == [
        ("who is Ada?", frozenset({"h0"})),
        ("who is Bob?", frozenset({"h1"})),
    ]
    with (tmp_path / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\th1\t0\n")  # judged, and not relevant
    assert of_folder(tmp_path)[1][0].relevant == frozenset({"h0"})


def test_another_layout_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": "1"}))
    with pytest.raises(SettingsError, match=r"not BEIR's layout \(corpus\.jsonl"):
        of_folder(tmp_path)
