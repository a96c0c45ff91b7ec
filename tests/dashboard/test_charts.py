"""Charts: SVG that tells the same to the eye, to a mouse and to a screen reader."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest
from django.template import Context, Template
from django.test import override_settings

from django_jobqueue.dashboard.charts import (
    HEIGHT,
    WIDTH,
    LineChart,
    Series,
    bar_chart,
    line_chart,
    meter,
    number,
    sparkline,
)

HOSTILE = "\"><script>alert('x')</script>&"


def shown(chart: Any) -> str:
    return Template("{% load jobqueue %}{% chart it %}").render(Context({"it": chart}))


def lines(*values: float | None, **kwargs: Any) -> LineChart:
    labels = [str(at) for at in range(len(values))]
    return line_chart([Series("jobs", values, "ok")], labels, title="Jobs", **kwargs)


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]


def test_a_line_goes_from_the_left_edge_to_the_right_and_from_zero_up_to_a_round_number() -> None:
    chart = lines(0, 10, 20)
    assert points(chart.lines[0].parts[0]) == [(0, HEIGHT), (WIDTH / 2, HEIGHT / 2), (WIDTH, 0)]
    assert chart.axis.top == "20"
    assert chart.axis.labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, "1"), (3, "3"), (51, "60"), (0.041, "0.05"), (1_200, "1,500"), (1e9, "1,000,000,000")],
)
def test_the_scale_ends_at_a_round_number_not_far_above_the_highest_value(
    most: float, top: str
) -> None:
    assert lines(0, most).axis.top == top


def test_where_there_is_no_value_the_line_has_a_gap_and_a_lone_value_is_still_seen() -> None:
    parts = lines(1, 2, None, 4, None).lines[0].parts
    assert len(parts) == 2
    assert len(points(parts[0])) == 2
    (begin, _), (end, _) = points(parts[1])
    assert end > begin


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_gap(value: float) -> None:
    assert lines(value).lines[0].parts == ()
    assert "no data" in lines(value).summary


def test_no_labels_are_an_empty_chart() -> None:
    assert "<svg" in shown(lines())
    assert "<svg" in shown(bar_chart([], [], title=""))
    assert "no data" in shown(sparkline([], title="x"))


def test_series_and_labels_have_to_fit() -> None:
    with pytest.raises(ValueError, match="2 values for 1"):
        line_chart([Series("a", [1, 2])], ["x"], title="")
    with pytest.raises(ValueError, match="argument"):
        bar_chart([1, 2], ["x"], title="")


def test_every_chart_says_in_words_what_it_shows() -> None:
    assert lines(3, 9, 6).summary == "Jobs: jobs from 3 to 9, last 6"
    assert sparkline([3, 9, 6], title="Trend").summary == "Trend: from 3 to 9, last 6"
    assert bar_chart([3, 9], ["a", "b"], title="Sizes").bars[1].told == "b: 9"
    assert meter(3, 10, title="Busy").summary == "Busy: 3 of 10"


def test_a_chart_of_lines_has_all_its_numbers_as_a_table_too() -> None:
    page = shown(line_chart([Series("a", [1, None]), Series("b", [3, 4])], ["x", "y"], title="T"))
    assert '<th scope="row">y</th><td class="jq-num"></td><td class="jq-num">4</td>' in page
    assert "<title>x: a 1, b 3</title>" in page


def test_a_mark_stands_between_the_labels_that_it_lies_between() -> None:
    mark = lines(1, 2, 3, marks=[(0.5, "v2")]).marks[0]
    assert (float(mark.x) + 1, mark.told) == (WIDTH / 4, "v2")


def test_a_bar_that_is_not_nothing_is_seen() -> None:
    none, least, most = bar_chart([0, 1, 1_000_000], ["a", "b", "c"], title="").bars
    assert float(none.height) == 0
    assert float(least.height) > 0
    assert float(most.height) == HEIGHT


@pytest.mark.parametrize(
    ("value", "of", "width"), [(1, 4, "25.0"), (9, 4, "100.0"), (-1, 4, "0.0"), (1, 0, "0.0")]
)
def test_a_meter_is_never_more_than_full(value: float, of: float, width: str) -> None:
    assert meter(value, of, title="").width == width


def test_whatever_a_chart_is_given_is_text_and_no_markup() -> None:
    charts = [
        line_chart([Series(HOSTILE, [1])], [HOSTILE], title=HOSTILE, marks=[(0, HOSTILE)]),
        bar_chart([1], [HOSTILE], title=HOSTILE),
        sparkline([1], title=HOSTILE),
        meter(1, 2, title=HOSTILE),
    ]
    for chart in charts:
        page = shown(chart)
        assert "<script" not in page
        ElementTree.fromstring(page)  # noqa: S314  our own text: each tag is closed, no more open
        for forbidden in ("style=", "<style", "onload", "javascript:"):
            assert forbidden not in page


def test_the_drawing_is_the_same_in_every_language() -> None:
    with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True):
        chart = lines(0.5, 1_234.5)
        assert points(chart.lines[0].parts[0])[1][0] == WIDTH
        assert 'points="0.0,' in shown(chart)
        assert number(1_234) == "1.234"
        assert number(0.25) == "0,25"


def test_a_number_of_hundreds_of_digits_is_no_number() -> None:
    assert meter(10**400, 10**400, title="").told == "0 of 0"
    assert lines(10**400, 2).lines[0].parts
