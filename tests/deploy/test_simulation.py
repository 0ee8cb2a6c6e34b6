"""The simulation against queueing theory, and against what an autoscaler must do."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tiffin.cli.main import main
from tiffin.config.scaling import Scaling
from tiffin.config.section import SettingsError
from tiffin.deploy.simulation.autoscaler import PERIOD_S
from tiffin.deploy.simulation.queueing import Outcome, Simulation, Work, percentile
from tiffin.deploy.simulation.traces import TRACES, bursts, diurnal, poisson, read_log

HOUR = 3600.0


def mean(outcome: Outcome) -> float:
    return sum(outcome.latencies_s) / len(outcome.latencies_s)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
@pytest.mark.parametrize(("spread", "name"), [(1.0, "M/M/1"), (0.0, "M/D/1")])
def test_one_replica_waits_as_queueing_theory_says(load: float, spread: float, name: str) -> None:
    """Pollaczek and Khinchine: wait = load * service * (1 + spread**2) / (2 * (1 - load))."""
    service_s = 0.1
    arrivals = poisson(load / service_s, 2 * HOUR, seed=1)
    work = Work(service_s, spread)
    outcome = Simulation(arrivals, work, Scaling(), (), replicas=1, seed=2).run()
    expected = service_s + load * service_s * (1 + spread**2) / (2 * (1 - load))
    assert mean(outcome) == pytest.approx(expected, rel=0.1), name


def test_a_batch_costs_less_than_its_requests_one_by_one() -> None:
    """The first comes alone; the three that waited meanwhile are one batch: 1 + 2 * 0.5 seconds."""
    work = Work(1.0, batch=4, marginal=0.5)
    outcome = Simulation([0.0] * 4, work, Scaling(), (), replicas=1).run()
    assert outcome.latencies_s == [1.0, 3.0, 3.0, 3.0]


def test_a_replica_slows_down_while_others_take_its_core() -> None:
    outcome = Simulation(
        [0.0, 10.0],
        Work(1.0),
        Scaling(),
        (),
        replicas=1,
        speed=lambda now: 0.25 if now < 5 else 1.0,
    ).run()
    assert outcome.latencies_s == [4.0, 1.0]


def test_every_request_is_answered_once() -> None:
    arrivals = bursts(2, HOUR, seed=3)
    scaling = Scaling(min=1, max=5, signals={"queue_depth": 4})
    outcome = Simulation(arrivals, Work(0.3), scaling, ("queue_depth",)).run()
    assert len(outcome.latencies_s) == len(arrivals)
    assert min(outcome.latencies_s) > 0


@pytest.mark.slow
def test_replicas_follow_the_load_and_stay_in_their_bounds() -> None:
    scaling = Scaling(min=1, max=6, signals={"queue_depth": 2}, scale_down_window_s=120)
    outcome = Simulation(diurnal(12, HOUR, seed=4), Work(0.3), scaling, ("queue_depth",)).run()
    counts = [moment.replicas for moment in outcome.moments]
    night, noon = counts[5], max(counts[len(counts) // 3 : 2 * len(counts) // 3])
    assert night == 1
    assert 4 <= noon <= 6
    assert min(counts) >= 1


def test_a_fixed_replica_costs_less_and_answers_later() -> None:
    arrivals = poisson(5, HOUR, seed=5)
    scaling = Scaling(min=1, max=4, signals={"queue_depth": 2})
    fixed = Simulation(arrivals, Work(0.25), scaling, (), replicas=1).run()
    scaled = Simulation(arrivals, Work(0.25), scaling, ("queue_depth",)).run()
    assert scaled.replica_s > 1.5 * fixed.replica_s
    assert percentile(scaled.latencies_s, 95) < percentile(fixed.latencies_s, 95) / 10


def test_a_slow_start_is_paid_for_in_latency() -> None:
    arrivals = bursts(2, HOUR, seed=6)
    p95 = [
        percentile(
            Simulation(
                arrivals,
                Work(0.3),
                Scaling(min=1, max=6, signals={"queue_depth": 2}, start_s=start_s),
                ("queue_depth",),
            )
            .run()
            .latencies_s,
            95,
        )
        for start_s in (1, 120)
    ]
    assert p95[0] < p95[1]


def test_the_down_window_keeps_replicas_between_bursts() -> None:
    arrivals = bursts(2, HOUR, seed=7)
    paid = [
        Simulation(
            arrivals,
            Work(0.3),
            Scaling(min=1, max=6, signals={"queue_depth": 2}, scale_down_window_s=window),
            ("queue_depth",),
        )
        .run()
        .replica_s
        for window in (0, 600)
    ]
    assert paid[0] < paid[1]


SLEEPER = Scaling(
    min=0,
    max=3,
    signals={"request_rate_per_s": 2.0, "queue_depth": 4},
    start_s=20,
    scale_down_window_s=120,
)


def test_a_service_at_zero_wakes_for_a_request_and_sleeps_again() -> None:
    """Two requests an hour apart: each waits for a start, and between them nothing is paid."""
    outcome = Simulation([60.0, HOUR], Work(1.0), SLEEPER, tuple(SLEEPER.signals)).run()
    assert outcome.cold == 2
    for latency in outcome.latencies_s:
        # Until the next look, the start, and the request's own second.
        assert 21 <= latency <= 21 + PERIOD_S
    at = {moment.at_s: moment.replicas for moment in outcome.moments}
    assert (at[45], at[90], at[1800]) == (0, 1, 0)
    awake_s = outcome.replica_s
    # The rate is that of the last minute, so the window begins when it has forgotten the request.
    assert 2 * 20 < awake_s < 20 + 1 + 60 + 120 + 2 * PERIOD_S + 22
    assert outcome.idle_s == pytest.approx(awake_s - sum(outcome.latencies_s), abs=2 * PERIOD_S)


def test_sleeping_trades_money_for_cold_starts() -> None:
    arrivals = bursts(0.001, 24 * HOUR, seed=8)
    awake = SLEEPER.model_copy(update={"min": 1})
    signals = tuple(SLEEPER.signals)
    sleeping, warm = (Simulation(arrivals, Work(1.0), s, signals).run() for s in (SLEEPER, awake))
    assert len(sleeping.latencies_s) == len(arrivals), "each is answered, if late"
    assert sleeping.replica_s < 0.5 * warm.replica_s
    assert sleeping.idle_s < warm.idle_s
    assert sleeping.cold > 10
    assert warm.cold == 0
    assert percentile(sleeping.latencies_s, 95) > 20 > percentile(warm.latencies_s, 95)


def test_under_steady_load_a_sleeper_never_sleeps() -> None:
    arrivals = poisson(1, HOUR, seed=9)
    outcome = Simulation(arrivals, Work(0.3), SLEEPER, tuple(SLEEPER.signals)).run()
    assert min(moment.replicas for moment in outcome.moments[2:]) == 1
    assert outcome.cold < 60


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_the_same_for_the_same_seed(name: str) -> None:
    assert TRACES[name](2, 600, 1) == TRACES[name](2, 600, 1)
    assert TRACES[name](2, 600, 1) != TRACES[name](2, 600, 2)


def test_a_log_of_one_s_own_is_read_in_either_form(tmp_path: Path) -> None:
    seconds, iso = tmp_path / "seconds.csv", tmp_path / "iso.csv"
    seconds.write_text("seconds,path\n7.5,/a\n5,/b\n")
    iso.write_text("timestamp\n2026-01-01T00:00:02+00:00\n2026-01-01T00:00:00+00:00\n")
    assert read_log(seconds) == [0.0, 2.5]
    assert read_log(iso) == [0.0, 2.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("when\n1\n", "line 1: needs a column `seconds` or `timestamp`"),
        ("seconds\n1\nsoon\n", "line 3: 'soon' is no seconds"),
        ("seconds\nnan\n", "line 2: 'nan' is no seconds"),
        ("timestamp\nyesterday\n", "line 2: 'yesterday' is no timestamp"),
        ("seconds\n", "holds no request"),
    ],
)
def test_a_bad_log_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_log(path)


def test_the_command_shows_a_row_and_a_plot_for_each_signal() -> None:
    words = ["deploy", "simulate", "Embedding", "--rate", "1", "--duration-s", "600"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    for signal in ("queue_depth", "latency_p95_ms", "all of them"):
        assert f"scaled on {signal}" in result.output
    assert "SLO misses" in result.output


def test_the_command_shows_what_sleeping_saves_and_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    words = ["deploy", "simulate", "LargeLLM", "--rate", "0.005", "--duration-s", "7200"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    lines = [line.split("│") for line in result.output.splitlines() if line.startswith("│")]
    cold = {cells[1].strip(): cells[8].strip() for cells in lines}
    assert cold["all, min: 1"] == "0.0 %"
    assert cold["all of them"] != "0.0 %"


def test_the_command_refuses_a_service_that_there_is_not() -> None:
    result = CliRunner().invoke(main, ["deploy", "simulate", "Embeding"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: Embeding: profile laptop has no such service; it has:")
