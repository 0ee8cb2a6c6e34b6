"""The router's lab: how the complexity model is trained, calibrated and evaluated."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from lab.router.evaluation import calibration, evaluate
from lab.router.outcomes import Outcomes, OutcomesError, read_outcomes, widened
from lab.router.ridge import Fit, fit
from lab.router.training import FOLDS, Difficulties, calibrate, cross_validated, save, train
from tiffin.cli import router
from tiffin.cli.main import main
from tiffin.routing.complexity import ComplexityModel
from tiffin.routing.features import text_features

ROOT = Path(__file__).parents[2]
FEW = Fit(landmarks=100)


def outcomes(rows: int = 1500) -> tuple[Outcomes, np.ndarray]:
    """Traffic in which the first component of the embedding says how hard a query is."""
    random = np.random.default_rng(7)
    vectors = random.normal(size=(rows, 16)).astype(np.float32)
    fails = random.random(rows) < 1 / (1 + np.exp(-2 * vectors[:, 0]))
    groups = [f"subject {number % 30}" for number in range(rows)]
    queries = [f"query {number}" for number in range(rows)]
    weak = (~fails).astype(np.float32)
    return Outcomes(queries, weak, np.ones(rows, np.float32), groups, "0" * 64), vectors


@pytest.mark.slow
def test_training_learns_what_there_is_to_learn_and_calibrates_it() -> None:
    labelled, vectors = outcomes()
    model = train(labelled, vectors, seed=0, settings=FEW)
    said = list(cross_validated(labelled, vectors, seeds=range(2), settings=FEW))
    worth = {w.name: w for w in evaluate(said, labelled, weak_cost=0.1)}
    assert worth["complexity model alone"].area > worth["length"].area + 0.1
    assert model.metadata["seed"] == "0"
    assert worth["random mixing"].area == pytest.approx(0.5)
    assert worth["oracle"].strong_share < worth["complexity model alone"].strong_share
    assert calibration(said, labelled) < 0.05


@pytest.mark.slow
def test_where_there_is_nothing_to_learn_the_figures_say_so() -> None:
    labelled, vectors = outcomes()
    order = np.random.default_rng(3).permutation(len(vectors))
    said = list(cross_validated(labelled, vectors[order], seeds=[0], settings=FEW))
    served = evaluate(said, labelled, weak_cost=0.1)[0]
    assert served.between[0] < 0.5
    assert served.area < 0.53


@pytest.mark.slow
def test_how_the_groups_fall_into_folds_does_not_decide() -> None:
    labelled, vectors = outcomes(600)
    said = list(cross_validated(labelled, vectors, seeds=range(3), settings=FEW))
    each = [evaluate([repeat], labelled, weak_cost=0.1)[0] for repeat in said]
    assert len({worth.area for worth in each}) == 3, "each way to fold says something else"
    together = evaluate(said, labelled, weak_cost=0.1)[0]
    for figure in ("area", "strong_share", "half_gap", "most_gap"):
        mean = np.mean([getattr(worth, figure) for worth in each])
        assert getattr(together, figure) == pytest.approx(mean)


def test_queries_that_a_way_cannot_tell_apart_are_in_no_order() -> None:
    """`length` ranks 4 of 8 first; within each half, chance decides."""
    queries = ["long query"] * 4 + ["short"] * 4
    gain = np.array([1, 1, 0, 0, 1, 0, 0, 0], np.float32)
    said = [Difficulties(gain, gain, 1 - gain)]
    for order in (np.arange(8), np.arange(8)[::-1]):
        rows = Outcomes(queries, 0 * gain, gain, [f"g{n % 4}" for n in range(8)], "").take(order)
        worth = {w.name: w for w in evaluate([said[0].take(order)], rows, weak_cost=0)}
        assert worth["length"].area == pytest.approx((0 + 2 / 3) / 4 + (2 / 3 + 1) / 4)
        assert worth["length"].half_gap == pytest.approx(0.375), "1.5 of 3 gained, in 3 of 8 calls"
        assert worth["keyword rules"].area == worth["random mixing"].area == 0.5


def test_the_command_repeats_the_cross_validation_on_its_own_data(tmp_path: Path) -> None:
    labelled, vectors = outcomes(120)
    data, kept, model = (tmp_path / name for name in ("a.jsonl", "v.npy", "m.safetensors"))
    rows = zip(labelled.queries, labelled.weak, labelled.groups, strict=True)
    lines = [
        json.dumps({"query": q, "weak_correct": float(w), "strong_correct": 1, "group": g})
        for q, w, g in rows
    ]
    data.write_text("\n".join(lines))
    np.save(kept, vectors)
    both = [str(data), "--vectors", str(kept)]
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(lines[:20]))
    refused = CliRunner().invoke(main, ["router", "train", str(few), "--out", str(model)])
    assert "20 rows are too few to learn from" in refused.output
    trained = CliRunner().invoke(main, ["router", "train", *both, "--out", str(model)])
    assert trained.exit_code == 0, trained.output
    command = ["router", "eval", *both, "--model", str(model), "--repeats", "2"]
    printed = CliRunner().invoke(main, command)
    each = "120 queries of 30 groups, by group in 10 parts, each held out once; repeats: 2"
    assert each in printed.output, printed.output


def test_figures_can_leave_groups_out_that_were_learned_from(tmp_path: Path) -> None:
    lines = ["query,subject,weak_correct,strong_correct"]
    lines += [f"query {n},s{n % 4},{n % 3 == 0},true" for n in range(80)]
    data, kept = tmp_path / "a.csv", tmp_path / "v.npy"
    data.write_text("\n".join(lines))
    np.save(kept, np.random.default_rng(0).normal(size=(80, 384)).astype(np.float32))
    command = ["router", "eval", str(data), "--vectors", str(kept)]
    printed = CliRunner().invoke(main, [*command, "--without", "s1"])
    assert printed.output.startswith("60 queries of 3 groups, none of them trained on")
    refused = CliRunner().invoke(main, [*command, "--without", "s9"])
    assert "has no group s9" in refused.output


def test_groups_never_stand_on_both_sides_of_the_split() -> None:
    labelled, _ = outcomes(300)
    parts = labelled.folds(3, FOLDS)
    sides = [{labelled.groups[row] for row in rows} for rows in parts]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 30
    by_query = labelled.folds(3, FOLDS, "query")
    assert sorted(np.concatenate(by_query)) == sorted(np.concatenate(parts)) == list(range(300))
    assert len({labelled.groups[row] for row in by_query[0]}) > 3


def test_a_kernel_finds_what_no_single_feature_tells() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(3.0, 2.0, size=(5000, 4)).astype(np.float32)
    target = (rows[:, 0] > 3) - 1.0 * ((rows[:, 1] > 3) == (rows[:, 2] > 3))
    target -= target.mean()
    kernel = fit(rows, target, Fit(penalty=1), seed=0)
    assert np.var(target - kernel.value(rows)) < 0.3 * np.var(target)
    assert kernel.value(rows[:1])[0] == pytest.approx(kernel.value(rows)[0], abs=1e-5)
    assert abs(kernel.value(rows[:1] + 1e6)[0]) < 0.1, "far from all, an average query"


def test_calibration_moves_the_probabilities_and_nothing_else() -> None:
    labelled, vectors = outcomes()
    model = train(labelled, vectors, seed=0, settings=FEW)
    easier = Outcomes(labelled.queries, labelled.strong, labelled.strong, labelled.groups, "1" * 64)
    again = calibrate(model, easier, vectors)
    row = np.array([list(text_features("query 0").values())], np.float32), vectors[:1]
    assert again.head.difficulty(*row) == model.head.difficulty(*row)
    assert again.head.p_cheap(again.head.difficulty(*row))[0] == 1


def test_a_saved_model_judges_as_before(tmp_path: Path) -> None:
    labelled, vectors = outcomes(300)
    model = train(labelled, vectors, seed=0, settings=FEW)
    save(model, tmp_path / "m.safetensors")
    features = text_features("What is it?")
    loaded = ComplexityModel.load(tmp_path / "m.safetensors")
    assert loaded.judge(features, vectors[0]) == model.judge(features, vectors[0])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "query,weak_correct\nhello,true\n", "row 1: 'strong_correct'"),
        ("a.jsonl", '{"query": "a", "weak_correct": 2, "strong_correct": 1}', "row 1: 2 is not"),
        ("a.jsonl", "{", "a.jsonl"),
        ("a.csv", "query,weak_correct,strong_correct\n", "no rows"),
    ],
)
def test_labelled_traffic_with_a_mistake_names_its_row(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OutcomesError, match=says):
        read_outcomes(tmp_path / name)


def test_a_judges_scores_are_read_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"query": "a", "weak_correct": 0.25, "strong_correct": true, "group": "g"}\n')
    read = read_outcomes(path)
    assert (list(read.queries), read.weak[0], read.strong[0]) == (["a"], 0.25, 1.0)


def test_without_the_lab_its_commands_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "find_spec", lambda _: None)
    for name in router.IN_LAB:
        refused = CliRunner().invoke(main, ["router", name, "traffic.jsonl"])
        assert refused.exit_code == 1
        says = f"Error: `tiffin router {name}` comes with the lab/ folder of a clone of Tiffin\n"
        assert refused.output == says
    shown = CliRunner().invoke(main, ["router", "--help"])
    assert "\n  replay " in shown.output
    assert not any(f"\n  {name} " in shown.output for name in router.IN_LAB)


def test_neither_the_wheel_nor_the_bento_holds_the_lab() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    taken = {*wheel["only-include"], *wheel["force-include"]}
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["include"]
    names = {"models", "services", "tiffin", "service.py"}
    assert taken == {path.strip("/") for path in bento} == names


def test_with_the_lab_its_commands_are_listed() -> None:
    shown = CliRunner().invoke(main, ["router", "--help"])
    assert all(f"\n  {name} " in shown.output for name in (*router.IN_LAB, "replay"))


def test_an_exams_question_is_also_learned_without_its_choices() -> None:
    exam = "What is 2 + 2?\nA. 3\nB. 4\nAnswer:"
    ones = np.ones(2, np.float32)
    both = widened(Outcomes(["Who built it?", exam], 0 * ones, ones, ["a", "b"], ""))
    assert both.queries == ["Who built it?", exam, "What is 2 + 2?"]
    assert both.groups == ["a", "b", "b"]
    assert both.numbers("query").tolist()[1:] == [both.numbers("query")[1]] * 2, "in one fold"
