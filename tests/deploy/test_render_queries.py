"""The autoscalers' queries, answered by Prometheus: its own `promtool` runs them on made series.

`apt-get install prometheus` brings it.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.rendering import manifests, plan_of
from tiffin.deploy.render import write
from tiffin.deploy.render.kubernetes import prepared
from tiffin.deploy.render.plan import Plan
from tiffin.deploy.render.queries import query

PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
ON, OFF, LOST = "1x40", "0x40", "1x30 0x9"
"""Scraped for ten minutes; never; until two and a half minutes ago."""


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """With a large tier that may sleep."""
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    return prepared(plan_of())


def up(
    component: str, pod: str, values: str, release: str = "tiffin", space: str = "tiffin"
) -> Any:
    labels = (
        f'namespace="{space}",app_kubernetes_io_instance="{release}",'
        f'app_kubernetes_io_component="{component}",pod="{pod}"'
    )
    return {"series": f"up{{{labels}}}", "values": values}


def busy(service: str, pod: str, value: int, release: str = "tiffin", space: str = "tiffin") -> Any:
    labels = f'namespace="{space}",app_kubernetes_io_instance="{release}",pod="{pod}"'
    return {"series": f'tiffin_in_work{{{labels},service="{service}"}}', "values": f"{value}x40"}


def check(folder: Path, text: str, series: list[Any], expected: float | None) -> None:
    """Whether the query gives this after ten minutes of these series, or nothing."""
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    case = {"expr": text, "eval_time": "10m", "exp_samples": samples}
    test = {"interval": "15s", "input_series": series, "promql_expr_test": [case]}
    file = folder / "test.json"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [], "tests": [test]}))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(file)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


STORIES: dict[str, tuple[list[Any], float | None]] = {
    "two busy pods": (
        [up("embedding", "a", ON), up("embedding", "b", ON), busy("Embedding", "a", 6),
         busy("Embedding", "b", 4)],
        10,
    ),
    "idle, and never asked": ([up("embedding", "a", ON)], 0),
    "nothing scraped": ([up("embedding", "a", OFF)], None),
    "no pod, no Prometheus job": ([], None),
    "another release and another namespace": (
        [up("embedding", "a", ON), busy("Embedding", "a", 1),
         up("embedding", "b", ON, release="two"), busy("Embedding", "b", 90, release="two"),
         up("embedding", "c", ON, space="two"), busy("Embedding", "c", 90, space="two")],
        1,
    ),
    "one of two lost from sight counts as the other": (
        [up("embedding", "a", ON), up("embedding", "b", LOST), busy("Embedding", "a", 8)],
        16,
    ),
    "one that only starts does not count": (
        [up("embedding", "a", ON), up("embedding", "b", OFF), busy("Embedding", "a", 8)],
        8,
    ),
    "all lost from sight": ([up("embedding", "a", LOST), busy("Embedding", "a", 8)], None),
}  # fmt: skip


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("story", STORIES)
def test_the_depth_of_a_queue_is_that_of_this_release_or_nothing(
    story: str, plan: Plan, tmp_path: Path
) -> None:
    series, expected = STORIES[story]
    check(tmp_path, query(plan, "Embedding", "queue_depth"), series, expected)


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([up("rag", "r", ON)], 0),  # it sleeps, and the entry service is there to say so
        ([up("rag", "r", OFF)], None),
        ([up("rag", "r", ON), up("large-llm", "l", ON), busy("LargeLLM", "l", 3)], 3),
        ([up("rag", "r", ON), up("large-llm", "l", LOST)], None),
    ],
)
def test_what_sleeps_is_idle_and_what_is_lost_from_sight_is_not(
    series: list[Any], expected: float | None, plan: Plan, tmp_path: Path
) -> None:
    check(tmp_path, query(plan, "LargeLLM", "queue_depth"), series, expected)


@pytest.mark.slow
@needs_promtool
def test_a_latency_without_requests_is_0_and_without_a_scrape_nothing(
    plan: Plan, tmp_path: Path
) -> None:
    text = query(plan, "Embedding", "latency_p95_ms")
    labels = 'namespace="tiffin",app_kubernetes_io_instance="tiffin",service="Embedding"'
    still = [
        {"series": f'tiffin_service_seconds_bucket{{{labels},le="{le}"}}', "values": "5x40"}
        for le in ("0.1", "+Inf")
    ]
    check(tmp_path, text, [up("embedding", "a", ON), *still], 0)
    check(tmp_path, text, [up("embedding", "a", LOST), *still], None)


def test_every_query_selects_namespace_and_release_and_no_error_is_an_idle_service(
    plan: Plan, tmp_path: Path
) -> None:
    write("kubernetes", plan, tmp_path)
    for scaled in manifests(tmp_path, "ScaledObject"):
        assert "fallback" not in scaled["spec"]
        for trigger in scaled["spec"]["triggers"]:
            text = trigger["metadata"]["query"]
            assert "vector(" not in text
            assert text.count('namespace="tiffin"') == text.count("{")
            assert text.count('app_kubernetes_io_instance="tiffin"') == text.count("{")
            assert trigger["metadata"]["ignoreNullValues"] == "false"


def test_prometheus_keeps_our_own_label_and_adds_those_that_are_selected(
    plan: Plan, tmp_path: Path
) -> None:
    write("kubernetes", plan, tmp_path)
    (monitor,) = manifests(tmp_path, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True
    given = {label.translate(str.maketrans("./", "__")) for label in
             monitor["spec"]["targetLabels"]}  # fmt: skip
    assert given == {"app_kubernetes_io_instance", "app_kubernetes_io_component"}
