"""The page of metrics: the classes, one class, the hours, the order, and hostile names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_jobqueue import connection
from django_jobqueue.api import Metrics
from django_jobqueue.dashboard.pages.metrics import MOST, ORDERS, POINTS, SPANS, _parts
from django_jobqueue.permissions import Permission
from django_jobqueue.store.metrics import BUCKETS, Counts
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address

HOSTILE = "<img src=x onerror=alert(1)>\n\x1b[31m'\"|&"


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def ran(name: str, bucket: int = 0, *, times: int = 1, failed: int = 0, ms: int = 5) -> None:
    histogram = tuple(times if at == bucket else 0 for at in range(BUCKETS))
    connection.store().metrics.add({name: Counts(failed, ms, histogram)})


def page(browser: Client, name: str = "metrics", **query: Any) -> str:
    answer = browser.get(address(name), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_class_is_shown_with_how_often_how_long_and_how_well(operator: Client) -> None:
    ran("shop.jobs.Send", 3, times=9, failed=1, ms=450)
    told = page(operator)
    assert "1 class ran in the last 1 h" in told
    for text in ("shop.jobs.Send", ">10<", "10.0 %", "65 ms", "50 ms", "450 ms"):
        assert text in told, text


def test_before_anything_ran_the_page_says_so(operator: Client) -> None:
    assert "No job ran in the last 1 h" in page(operator)
    ran("A")
    assert "No class with “x&lt;y” in its name" in page(operator, **{"class": "x<y"})


def test_every_span_and_every_order_can_be_asked_for(operator: Client) -> None:
    ran("Quick", times=50, ms=1)
    ran("Slow", ms=90_000)
    ran("Failing", failed=7)
    first = {"time": "Slow", "count": "Quick", "failed": "Failing", "rate": "Failing"}
    for by in ORDERS:
        told = page(operator, by=by)
        names = [told.index(f">{name}</a>") for name in ("Quick", "Slow", "Failing")]
        assert told.index(f">{first.get(by, 'Slow')}</a>") == min(names)
        assert told.count('aria-sort="descending"') == 1
    for hours in SPANS:
        assert f"3 classes ran in the last {hours} h" in page(operator, hours=hours)
        assert "50" in page(operator, "metrics_class", hours=hours, job="Quick")


def test_what_cannot_be_asked_is_refused_and_not_an_error(operator: Client) -> None:
    for name, query in (
        ("metrics", {"hours": "7"}),
        ("metrics", {"hours": "<b>"}),
        ("metrics", {"by": "name; drop"}),
        ("metrics_class", {}),
        ("metrics_class", {"job": "x" * 501}),
        ("metrics_class", {"job": "x", "hours": "-1"}),
    ):
        answer = operator.get(address(name), query)
        assert answer.status_code == 400
        assert b"<b>" not in answer.content.replace(b"<b></b>", b"")


def test_one_class_has_percentiles_a_histogram_and_deploys(operator: Client) -> None:
    ran("A", 3, times=99)
    ran("A", BUCKETS - 1)
    Metrics().mark(f"v2 {HOSTILE}")
    told = page(operator, "metrics_class", job="A")
    assert "up to 65 ms: 99" in told
    assert "above 335 s: 1" in told
    assert "v2 &lt;img" in told
    assert 'class="jq-mark"' in told
    assert "> 335 s" not in told  # 99 of 100 took no longer than 65 ms
    ran("A", BUCKETS - 1)
    assert "&gt; 335 s" in page(operator, "metrics_class", job="A")


def test_a_class_that_did_nothing_is_a_page_of_zeros(operator: Client) -> None:
    told = page(operator, "metrics_class", job="Nobody")
    assert "no data" in told
    assert "How many took how long" not in told


def test_a_name_of_markup_is_text_wherever_it_stands(operator: Client) -> None:
    ran(HOSTILE)
    for told in (
        page(operator),
        page(operator, **{"class": "<img"}),
        page(operator, "metrics_class", job=HOSTILE),
    ):
        assert "<img" not in told
        assert "\x1b" not in told
        assert "&lt;img" in told


def test_of_very_many_classes_a_page_is_shown_and_the_rest_is_told_of(operator: Client) -> None:
    connection.store().metrics.add(
        {f"Class{at:03}": Counts(1, 0, (1,) + (0,) * (BUCKETS - 1)) for at in range(MOST + 5)}
    )
    told = page(operator)
    assert told.count('class="jq-name"') == MOST
    assert "5 more are not shown" in told


def test_to_look_takes_the_permission(staff: Callable[..., Client]) -> None:
    for name in ("metrics", "metrics_class"):
        assert staff(Permission.RETRY_JOB).get(address(name)).status_code == 403
    assert staff(Permission.VIEW_DASHBOARD).get(address("metrics")).status_code == 200


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (60, 1), (150, 1), (239, 2), (431, 3)])
def test_a_line_has_no_more_points_than_can_be_told_apart(count: int, size: int) -> None:
    parts = _parts(range(count))
    assert len(parts) <= POINTS
    assert {len(part) for part in parts} == ({size} if size else set())
    # The latest are there; of the earliest some may be missing, for all are of one length.
    assert [each for part in parts for each in part] == list(range(count))[count % (size or 1) :]


def test_a_page_is_two_round_trips_however_many_classes_there_are(
    operator: Client, count_round_trips: Callable[[], int]
) -> None:
    for at in range(10):
        ran(f"Class{at}")
    count_round_trips()
    page(operator)
    assert count_round_trips() == 2
