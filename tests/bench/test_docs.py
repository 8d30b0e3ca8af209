"""The page about performance is what the latest run gives."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from bench.docs import FOLDER, LATEST, pages
from bench.scenarios import SCENARIOS
from bench.svg import chart

TEMPLATE = Path(__file__).parents[2] / "bench" / "performance.template"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_and_its_curves_are_those_of_the_latest_run() -> None:
    written = pages(json.loads(LATEST.read_text()))
    assert {path: path.read_text() for path in written} == written
    assert set(FOLDER.iterdir()) <= {LATEST, *written}


def test_another_run_makes_another_page() -> None:
    run = json.loads(LATEST.read_text())
    run["rows"][0]["value"] *= 2
    assert any(path.read_text() != text for path, text in pages(run).items())


def test_the_page_names_every_scenario() -> None:
    for name in SCENARIOS:
        assert name in TEMPLATE.read_text()


def test_a_chart_draws_each_curve_and_names_its_end() -> None:
    drawn = ET.fromstring(chart("a & b", {"one": {10: 1.0, 1000: 4.0}, "two": {10: 2.0, 1000: 3.0}}))  # noqa: S314  # ours
    lines = [each.attrib["points"] for each in drawn.iter(f"{SVG}polyline")]
    assert len(lines) == 2
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in lines]
    assert heights[0][1] < heights[1][1] < heights[1][0] < heights[0][0]  # upwards is less
    words = [each.text for each in drawn.iter(f"{SVG}text")]
    assert {"a & b", "10", "1,000", "0 ms", "one: 4 ms", "two: 3 ms"} <= set(words)


def test_names_of_curves_that_end_together_stand_apart() -> None:
    drawn = ET.fromstring(chart("", {name: {10: 1.0, 100: 2.0} for name in "abc"}))  # noqa: S314  # ours
    places = {each.attrib["y"] for each in drawn.iter(f"{SVG}text") if (each.text or "").endswith(": 2 ms")}
    assert len(places) == 3
