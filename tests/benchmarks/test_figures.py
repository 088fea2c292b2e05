"""What is made of measured numbers: quantiles, figures, the table, JSON and charts."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import chart
from benchmarks.figure import Figure, Must, Reference, Skipped, number
from benchmarks.machine import machine, versions
from benchmarks.quantiles import quantile
from benchmarks.report import Report, plain, show

SVG = "{http://www.w3.org/2000/svg}"

NUMBERS = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1)


class TestQuantiles:
    def test_of_a_hundred(self) -> None:
        values = list(range(100, 0, -1))
        assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]

    @given(NUMBERS, st.floats(0, 1))
    def test_so_many_are_not_above_it(self, values: list[float], share: float) -> None:
        found = quantile(values, share)
        assert found in values
        assert sum(value <= found for value in values) >= math.floor(share * len(values))
        assert sum(value < found for value in values) <= share * len(values)

    def test_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="of nothing"):
            quantile([], 0.5)


class TestFigure:
    def test_what_is_wanted_is_wanted_of_the_ratio(self) -> None:
        figure = Figure("get", "GET", 40_000, "/s", Reference("nginx", 100_000), Must(">=", 0.38))
        assert figure.ratio == 0.4
        assert figure.met is True
        assert Figure("get", "GET", 40_000, "/s", Reference("nginx", 110_000), Must(">=", 0.38)).met is False

    def test_or_of_the_value_where_nothing_is_beside_it(self) -> None:
        assert Figure("rss", "RSS", 250, "MiB", must=Must("<=", 250)).met is True
        assert Figure("rss", "RSS", 251, "MiB", must=Must("<=", 250)).met is False
        assert Figure("idle", "idle", 0.3, "%").met is None

    def test_the_median_of_its_runs(self) -> None:
        figure = Figure.of_runs("get", "GET", [3.0, 1.0, 2.0], "/s")
        assert (figure.value, figure.runs) == (2.0, (3.0, 1.0, 2.0))

    @pytest.mark.parametrize(
        ("value", "shown"), [(112_345.6, "112,346"), (99.94, "99.9"), (0.3849, "0.385"), (0, "0"), (1.5, "1.5")]
    )
    def test_numbers_have_three_digits_that_count(self, value: float, shown: str) -> None:
        assert number(value) == shown


REPORT = Report(
    date="2026-01-02T03:04:05+00:00",
    command="python -m benchmarks --only get",
    pinning="the server measured on CPU 0",
    machine={"cpu": "A & B <processor>", "cores": 2, "memory": 1, "kernel": "Linux", "load": [0.5, 0, 0]},
    versions={"Python": "3.11.7", "nginx": "1.22.1"},
    figures=(
        Figure("get", "nginx return 302", 100_000, "/s", ours=False, runs=(99_000, 100_000, 101_000)),
        Figure("get", "GET, <cached>", 40_000, "/s", Reference("nginx return 302", 100_000), Must(">=", 0.38)),
        Figure("get", "GET, <cached>", 40_000, "/s", Reference("lua", 50_000), Must(">=", 1.1), note="9 µs"),
        Figure("latency", "p99", 1.25, "ms", must=Must("<=", 2)),
        Figure("rss", "RSS", 90, "MiB"),
    ),
    skipped=(Skipped("workers", "two workers", "there is no such option"),),
)


class TestReport:
    def test_the_table_has_a_line_for_each_and_says_what_was_not_measured(self) -> None:
        lines = plain(REPORT).splitlines()
        columns = [line.split("  ") for line in lines]
        assert [cell.strip() for cell in columns[0] if cell.strip()] == [
            "what", "figure", "ratio", "to", "wanted", "so"
        ]  # fmt: skip
        held = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:7]]
        assert held == [
            ["nginx return 302", "100,000/s"],
            ["GET, <cached>", "40,000/s", "0.40", "nginx return 302 (100,000)", "≥ 0.38", "yes"],
            ["GET, <cached>", "40,000/s", "0.80", "lua (50,000)", "≥ 1.1", "no"],
            ["p99", "1.25 ms", "≤ 2", "yes"],
            ["RSS", "90 MiB"],
        ]
        rest = "\n".join(lines[7:])
        for said in (
            "GET, <cached>: 9 µs",
            "not measured: two workers: there is no such option",
            "pinned: the server measured on CPU 0",
            "nginx 1.22.1",
            "command: python -m benchmarks --only get",
        ):
            assert said in rest

    def test_it_is_plain_where_nobody_looks(self) -> None:
        out = io.StringIO()
        show(REPORT, out)
        assert out.getvalue() == plain(REPORT)

    def test_on_a_terminal_it_has_colours(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        show(REPORT, out)
        assert "\x1b[" in out.getvalue()
        assert "≥ 0.38" in out.getvalue()

    def test_json_has_all_of_it(self) -> None:
        found = json.loads(REPORT.json())
        assert found["command"] == REPORT.command
        assert found["machine"]["cores"] == 2
        assert found["figures"][1] == {
            "row": "get",
            "name": "GET, <cached>",
            "value": 40_000,
            "unit": "/s",
            "reference": {"name": "nginx return 302", "value": 100_000},
            "must": {"bound": ">=", "number": 0.38},
            "runs": [],
            "note": "",
            "ours": True,
            "ratio": 0.4,
            "met": True,
        }
        assert found["skipped"] == [{"row": "workers", "name": "two workers", "why": "there is no such option"}]

    def test_the_chart_has_each_figure_once(self) -> None:
        root = ElementTree.fromstring(REPORT.svg())
        assert root.tag == f"{SVG}svg"
        bars = [rect.get("class") for rect in root.iter(f"{SVG}rect")]
        assert bars == ["theirs", "ours", "ours"]  # nginx, GET, p99; memory is in no panel
        texts = [text.text for text in root.iter(f"{SVG}text")]
        assert texts.count("GET, <cached>") == 1
        assert "40,000, 0.40 x nginx return 302, 0.80 x lua" in texts
        assert "A & B <processor>" in " ".join(filter(None, texts))

    def test_it_is_written_where_it_is_asked_to(self, tmp_path: Path) -> None:
        REPORT.write(tmp_path / "new")
        assert json.loads((tmp_path / "new/newest.json").read_text())["date"] == REPORT.date
        ElementTree.parse(tmp_path / "new/newest.svg")


class TestChart:
    def test_bars_are_as_long_as_their_values(self) -> None:
        panel = chart.Panel("a", [chart.Bar("x", 100, "100"), chart.Bar("y", 25, "25"), chart.Bar("z", 0, "0")])
        root = ElementTree.fromstring(chart.bars([panel], "below"))
        widths = [float(rect.get("width") or 0) for rect in root.iter(f"{SVG}rect")]
        assert widths[0] == pytest.approx(4 * widths[1])
        assert 0 < widths[2] <= 1

    def test_points_are_where_their_logarithm_is(self) -> None:
        points = [(10_000, 50.0), (100_000, 100.0), (1_000_000, 0.0)]
        root = ElementTree.fromstring(chart.lines([chart.Line("a", points)], "below", "files"))
        circles = [(float(c.get("cx") or 0), float(c.get("cy") or 0)) for c in root.iter(f"{SVG}circle")]
        (x1, y1), (x2, y2), (x3, y3) = circles
        assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
        assert y2 < y1 < y3
        assert y3 - y2 == pytest.approx(2 * (y1 - y2), abs=0.3)
        assert "10 k" in [text.text for text in root.iter(f"{SVG}text")]

    @given(NUMBERS)
    def test_any_numbers_make_a_chart(self, values: list[float]) -> None:
        bars = [chart.Bar(f"{value} & <", value, "]]>") for value in values]
        ElementTree.fromstring(chart.bars([chart.Panel('"', bars)], "& so on"))
        points = [(n + 1, value) for n, value in enumerate(values)]
        ElementTree.fromstring(chart.lines([chart.Line("<", points)], "", "n"))


def test_this_machine_and_its_versions() -> None:
    found = machine()
    assert found["cores"] >= 1
    assert found["cpu"]
    assert len(found["load"]) == 3
    assert {"Python", "Twisted", "txredisapi", "httptools", "Redis", "nginx"} <= versions().keys()
