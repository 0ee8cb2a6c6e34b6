"""Draws the panels of deploy/grafana/tiffin.json from a Prometheus, for docs/images/dashboard.png.

It is not Grafana: the queries, titles, units and places are the dashboard's, the drawing is ours.
Called by tests/e2e/test_operations.py when OPERATIONS_SHOTS names a folder.
"""

import html
import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
COLUMN, ROW, GAP = 60, 24, 8
"""Pixels: a column and a row of the dashboard's grid, and the space between two panels."""
COLOURS = ("#3274d9", "#e0752d", "#3f9c4b", "#b877d9", "#c4162a", "#8f8f00", "#447ebc", "#6d4c41")
TEXT = {
    "reqps": "{:.3g} req/s",
    "percentunit": "{:.0%}",
    "s": "{:.3g} s",
    "currencyUSD": "${:.3g}",
}
STYLE = """body{margin:0;position:relative;font:11px sans-serif;background:#f4f5f5;color:#24292e}
div{position:absolute;box-sizing:border-box;overflow:hidden}.row{font-size:15px;padding-top:3px}
.panel{background:#fff;border:1px solid #ddd;padding:5px 8px}b{font-size:12px}svg{display:block}"""

Series = list[tuple[str, list[tuple[float, float]]]]


def shoot(board: dict[str, Any], prometheus: str, job: str, since: float, picture: Path) -> None:
    """Write a PNG of all panels, from `since`, in seconds of the Unix epoch, to now."""
    until = time.time()
    step = max(1, round((until - since) / 120))

    def series(panel: dict[str, Any]) -> Series:
        return [
            (_label(target.get("legendFormat", ""), found["metric"]), _points(found["values"]))
            for target in panel.get("targets", [])
            for found in _ask(prometheus, _filled(target["expr"], job), since, until, step)
        ]

    page = picture.with_suffix(".html")
    page.write_text(_page(board["panels"], series, since, until))
    depth = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    size = f"--window-size={24 * COLUMN},{depth * ROW}"
    words = [CHROMIUM or "chromium", "--headless", "--no-sandbox", "--hide-scrollbars", size]
    asked = [*words, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(asked, check=True, capture_output=True, timeout=60)
    page.unlink()


def _filled(expression: str, job: str) -> str:
    return expression.replace("$job", job).replace("$__rate_interval", "30s")


def _ask(url: str, query: str, since: float, until: float, step: int) -> list[dict[str, Any]]:
    asked: dict[str, str | float] = {"query": query, "start": since, "end": until, "step": step}
    answer = httpx.get(f"{url}/api/v1/query_range", params=asked, timeout=30).json()
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def _label(legend: str, metric: dict[str, str]) -> str:
    return re.sub(r"{{\s*(\w+)\s*}}", lambda name: metric.get(name[1], ""), legend)


def _points(values: list[list[Any]]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in values if math.isfinite(float(value))]


def _page(
    panels: list[dict[str, Any]],
    series: Callable[[dict[str, Any]], Series],
    since: float,
    until: float,
) -> str:
    parts = [f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>"]
    for panel in panels:
        grid = panel["gridPos"]
        width, height = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
        place = f"left:{grid['x'] * COLUMN + 4}px;top:{grid['y'] * ROW + 4}px"
        box = f"style='{place};width:{width}px;height:{height + GAP * (grid['h'] == 1)}px'"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            parts.append(f"<div class=row {box}>{title}</div>")
            continue
        unit = TEXT.get(panel["fieldConfig"]["defaults"].get("unit", ""), "{:.3g}")
        drawn = _chart(series(panel), unit, width - 18, height - 64, (since, until))
        parts.append(f"<div class=panel {box}><b>{title}</b>{drawn}</div>")
    return "".join(parts)


def _chart(found: Series, unit: str, width: int, height: int, span: tuple[float, float]) -> str:
    """Lines from 0 to the highest value, and a legend with the last one of each."""
    top = max((value for _, points in found for _, value in points), default=0) or 1.0
    since, until = span
    lines, legend = [], []
    for at, (label, points) in enumerate(found):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(
            f"{(t - since) / (until - since) * width:.1f},{(1 - value / top) * height + 12:.1f}"
            for t, value in points
        )
        lines.append(f"<polyline points='{path}' fill=none stroke='{colour}' stroke-width=1.5 />")
        last = unit.format(points[-1][1]) if points else ""
        legend.append(f"<span style='color:{colour}'>&#9632;</span> {html.escape(label)} {last}")
    axis = f"<text x=0 y=9 fill='#777'>{unit.format(top)}</text>"
    floor = f"<path d='M0 {height + 12.5}H{width}' stroke='#ccc'/>"
    drawn = f"<svg width={width} height={height + 16}>{axis}{floor}{''.join(lines)}</svg>"
    return drawn + " &nbsp; ".join(legend)
