"""What every class did: by minutes or hours, with percentiles, and with the deploys."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from django_jobqueue.api.metrics import BUCKET_ENDS, JobMetrics, Mark, Metrics, Slice
from django_jobqueue.connection import store
from django_jobqueue.store.metrics import BUCKETS, Counts
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze

#: 2027-02-05 08:07:30 UTC.
NOW = datetime(2027, 2, 5, 8, 7, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, jobqueue_settings: JobqueueSettings) -> FrozenClock:
    """It is half past 8:07, and there is a Redis."""
    jobqueue_settings()
    frozen = freeze(monkeypatch)
    frozen.now = NOW
    return frozen


def histogram(*indices: int) -> tuple[int, ...]:
    """Return a histogram with one in each bucket of these, from 0."""
    return tuple(indices.count(n) for n in range(BUCKETS))


def ran(name: str, *indices: int, failed: int = 0, ms: int = 0) -> None:
    """Count attempts now: one for each index of a bucket, and those that failed."""
    store().metrics.add({name: Counts(failed, ms, histogram(*indices))})


def test_by_minutes_there_is_a_slice_for_each_the_present_one_last(clock: FrozenClock) -> None:
    ran("A", 0, 0, failed=1, ms=30)
    clock.advance(120)
    ran("A", 3, ms=50)
    report = Metrics().top_jobs(minutes=4)
    job = report.jobs["A"]
    began = NOW - 30
    assert job.series == (
        Slice(began - 60, 0, 0, 0.0),
        Slice(began, 3, 1, 0.03),
        Slice(began + 60, 0, 0, 0.0),
        Slice(began + 120, 1, 0, 0.05),
    )
    assert (report.length, report.starts_at, report.ends_at) == (60, began - 60, began + 180)
    assert (job.processed, job.failed, job.failure_rate) == (4, 1, 0.25)
    assert job.seconds == pytest.approx(0.08)
    assert job.average == pytest.approx(0.08 / 3)
    assert job.series[1].average == pytest.approx(0.015)
    assert job.percentile(95) is None


def test_by_hours_a_slice_is_ten_minutes(clock: FrozenClock) -> None:
    ran("A", 0, ms=10)
    clock.advance(600)
    ran("A", 0, 0, ms=20)
    clock.advance(60)
    ran("A", 0, ms=30)
    report = Metrics().top_jobs(hours=1)
    assert report.length == 600
    assert len(report.jobs["A"].series) == 6
    assert [part.processed for part in report.jobs["A"].series] == [0, 0, 0, 0, 1, 3]
    assert report.starts_at == datetime(2027, 2, 5, 7, 20, tzinfo=UTC).timestamp()


def test_an_hour_is_the_default(clock: FrozenClock) -> None:
    ran("A", 0)
    clock.advance(59 * 60)
    assert len(Metrics().top_jobs().jobs["A"].series) == 60
    assert len(Metrics().for_job("A").jobs["A"].series) == 60
    clock.advance(60)
    assert Metrics().top_jobs().jobs == {}


def test_the_class_that_took_most_time_is_first(clock: FrozenClock) -> None:
    ran("quick", 0, 0, 0, ms=30)
    ran("slow", 9, ms=700)
    ran("failing", failed=2)
    assert list(Metrics().top_jobs().jobs) == ["slow", "quick", "failing"]


@pytest.mark.parametrize("wanted", ["p.jobs.S", re.compile(r"Send$")])
def test_classes_are_chosen_by_a_text_or_a_pattern(clock: FrozenClock, wanted: Any) -> None:
    for name in ("shop.jobs.Send", "shop.jobs.Bill", "shopXjobs.Sender"):
        ran(name, 0)
    assert list(Metrics().top_jobs(class_filter=wanted).jobs) == ["shop.jobs.Send"]


def test_one_class_has_histograms_of_its_minutes(clock: FrozenClock) -> None:
    ran("A", 0, 0, 5, ms=30)
    ran("B", 9, ms=30)
    clock.advance(60)
    ran("A", 25, failed=1)
    job = Metrics().for_job("A", minutes=3).jobs["A"]
    assert [part.histogram for part in job.series] == [
        histogram(), histogram(0, 0, 5), histogram(25),
    ]  # fmt: skip
    assert job.histogram == histogram(0, 0, 5, 25)
    assert (job.processed, job.failed, job.seconds) == (5, 1, 0.03)


def test_by_hours_a_histogram_is_that_of_ten_minutes_while_it_is_kept(clock: FrozenClock) -> None:
    ran("A", 1)
    clock.advance(60)
    ran("A", 1, 2)
    job = Metrics().for_job("A", hours=12).jobs["A"]
    assert job.series[-1].histogram == histogram(1, 1, 2)
    kept = [part.histogram is not None for part in job.series]
    assert kept == [False] * 24 + [True] * 48
    assert job.histogram == histogram(1, 1, 2)


def test_a_class_that_did_nothing_is_told_of_with_zeros(clock: FrozenClock) -> None:
    job = Metrics().for_job("A", minutes=2).jobs["A"]
    assert (job.processed, job.average, job.failure_rate, job.p99) == (0, 0.0, 0.0, None)


def test_what_sidekiq_counted_is_there_too(clock: FrozenClock) -> None:
    ran("Rails::HardJob", 0, ms=5)
    assert Metrics().for_job("Rails::HardJob").jobs["Rails::HardJob"].processed == 1


# Bounds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [{"minutes": 0}, {"minutes": 481}, {"hours": 0}, {"hours": 73}, {"minutes": 5, "hours": 1}],
)
def test_a_time_that_is_not_kept_is_refused(clock: FrozenClock, times: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="metrics are"):
        Metrics().top_jobs(**times)
    with pytest.raises(ValueError, match="metrics are"):
        Metrics().for_job("A", **times)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Metrics().top_jobs(minutes=480),
        lambda: Metrics().top_jobs(hours=72),
        lambda: Metrics().for_job("A", minutes=480),
        lambda: Metrics().for_job("A", hours=72),
    ],
)
def test_a_query_is_one_round_trip(
    clock: FrozenClock, count_round_trips: Callable[[], int], ask: Callable[[], Any]
) -> None:
    count_round_trips()
    ask()
    assert count_round_trips() == 1


# Percentiles ------------------------------------------------------------------


def of(*indices: int) -> JobMetrics:
    return JobMetrics("A", (Slice(0.0, len(indices), 0, 0.0, histogram(*indices)),))


def test_a_percentile_is_the_end_of_the_bucket_of_that_attempt() -> None:
    job = of(*[0] * 50, *[4] * 45, *[8] * 4, 12)
    assert (job.p50, job.p95, job.p99) == (0.02, 0.1, 0.5)
    assert job.percentile(50.1) == 0.1
    assert job.percentile(100) == 2.5


def test_the_last_bucket_has_no_end() -> None:
    assert of(25).p50 == math.inf
    assert BUCKET_ENDS[-2:] == (335.0, math.inf)


def test_one_attempt_is_every_percentile() -> None:
    assert of(3).percentile(0.1) == of(3).p99 == 0.065


@pytest.mark.parametrize("percent", [0, -1, 100.1, math.nan])
def test_a_share_that_there_cannot_be_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        of(3).percentile(percent)


# Deploys ----------------------------------------------------------------------


def test_percentiles_of_several_classes_are_those_that_each_has_alone(
    clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    ran("A", 0, 0, 5)
    clock.now -= 300
    ran("A", 25)
    ran("B", 7)
    clock.now += 300
    count_round_trips()
    found = Metrics().percentiles(["A", "B", "C"], minutes=10)
    assert count_round_trips() == 1
    for name in "AB":
        alone = Metrics().for_job(name, minutes=10).jobs[name]
        assert found[name] == (alone.p50, alone.p95, alone.p99)
    assert found["C"] == (None, None, None)
    assert Metrics().percentiles(["A"], (50,), minutes=1) == {"A": (0.02,)}
    assert Metrics().percentiles(["A"], (50,), hours=72) == {"A": (0.02,)}
    assert Metrics().percentiles([]) == {}
    with pytest.raises(ValueError, match="72 hours"):
        Metrics().percentiles(["A"], hours=73)


def test_deploys_of_the_time_are_in_the_report(clock: FrozenClock) -> None:
    assert Metrics().mark("before", datetime.fromtimestamp(NOW - 3 * 3_600, UTC))
    assert Metrics().mark("v2")
    assert Metrics().mark("v1", datetime.fromtimestamp(NOW - 1_800, UTC))
    marks = (Mark(NOW - 1_830, "v1"), Mark(NOW - 30, "v2"))
    assert Metrics().top_jobs().marks == marks
    assert Metrics().for_job("A").marks == marks
    assert Metrics().top_jobs(minutes=5).marks == marks[1:]
    assert [mark.label for mark in Metrics().top_jobs(hours=4).marks] == ["before", "v1", "v2"]


def test_a_deploy_is_marked_once_by_all_its_processes(clock: FrozenClock) -> None:
    assert [Metrics().mark("v2"), Metrics().mark("v2")] == [True, False]
    assert Metrics().marks() == (Mark(NOW - 30, "v2"),)
    assert Metrics().marks(date(2027, 2, 4)) == ()


@pytest.mark.parametrize(
    ("label", "at"), [("", None), ("v1", datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None))]
)
def test_a_mark_without_label_or_time_zone_is_refused(
    clock: FrozenClock, label: str, at: datetime | None
) -> None:
    with pytest.raises(ValueError, match="deploy"):
        Metrics().mark(label, at)


def test_a_mark_of_another_time_zone_stands_under_the_utc_day(clock: FrozenClock) -> None:
    at = datetime(2027, 2, 5, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    Metrics().mark("v1", at)
    assert [mark.label for mark in Metrics().marks(date(2027, 2, 4))] == ["v1"]
