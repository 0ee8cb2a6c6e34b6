"""`tiffin cache calibrate` asks a server about pairs of questions."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from tiffin.cli import calibrate
from tiffin.cli.server import Server
from tiffin.grounding.alike import shipped

PAIR = {"kept": "How do I cancel?", "new": "How can I end it?", "documents": ["Cancel by mail."]}


class Answering(Server):
    """A server that finds the probability of a pair in its new question."""

    def __init__(self, *, confirmed: bool = False) -> None:
        super().__init__("http://localhost:1", None)
        self.confirmed = confirmed

    def call(self, method: str, path: str, **sent: Any) -> Any:
        assert (method, path) == ("POST", "/v1/cache/compare")
        assert sent["json"]["documents"] == PAIR["documents"]
        probability = float(sent["json"]["new"])
        return {
            "probability": probability or None,
            "differences": [],
            "similarity": 1.0,
            "confirmed": self.confirmed,
        }


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({**PAIR, **row}) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("confirmed", [False, True])
def test_it_names_the_largest_share_that_the_pairs_bear_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, confirmed: bool
) -> None:
    server, head = Answering(confirmed=confirmed), shipped(confirmed=confirmed)
    sure, unsure = (f"{head.threshold(bound)}" for bound in (0.03, 0.05))
    same = [{"same": True, "new": sure}] * 30
    rows = [*same, {"same": True, "new": "0"}, *[{"same": False, "new": unsure}] * 400]
    pairs = calibrate.pairs_of(written(tmp_path / "pairs.jsonl", *rows), None)
    calibrate.calibrate(server, pairs, 0.01, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["same"], said["other"], said["wrong_hits"]) == (31, 400, 0.03)
    assert said["by_wrong_hits"]["0.03"]["served"] == 30
    assert said["by_wrong_hits"]["0.05"]["wrong"] == 400
    calibrate.calibrate(server, pairs, 0.01, as_json=False)
    assert "TIFFIN_CACHE__WRONG_HITS=0.03" in capsys.readouterr().out


def test_too_few_pairs_are_said_to_be_too_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"same": True, "new": "0.9"}, {"same": False, "new": "0"}]
    pairs = calibrate.pairs_of(written(tmp_path / "pairs.jsonl", *rows), None)
    calibrate.calibrate(Answering(), pairs, 0.01, as_json=False)
    assert "it takes 299" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"same": "perhaps"}, "line 1: same"),
        ({"same": True, "kept": ""}, "line 1: kept"),
        ({"same": True, "documents": []}, "line 1: documents"),
        ({"same": True, "more": 1}, "line 1: more"),
        ({"same": True}, "same: needs pairs of both kinds"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    tmp_path: Path, row: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(click.ClickException, match=wrong):
        calibrate.pairs_of(written(tmp_path / "pairs.jsonl", row), None)
