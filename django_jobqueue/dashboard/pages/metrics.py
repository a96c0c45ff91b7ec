"""Metrics: which classes run how often, how long and how well, and what a deploy has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import HttpResponse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from django_jobqueue.api import JobMetrics, Metrics, Report, Slice
from django_jobqueue.api.metrics import BUCKET_ENDS
from django_jobqueue.dashboard.charts import (
    BarChart,
    LineChart,
    Series,
    Sparkline,
    bar_chart,
    line_chart,
    number,
    sparkline,
)
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable
from django_jobqueue.reports.moments import moment
from django_jobqueue.templatetags.jobqueue import NOTHING, seconds

T = TypeVar("T")

#: Classes on the page, and so in one query for percentiles.
MOST = 50

#: Deploys that are listed; all are in the charts.
DEPLOYS = 20

#: Characters of a class's name that are worth asking for.
NAME = 500

#: Hours that can be asked for. Up to 4 by the minute, beyond by ten of them.
SPANS = (1, 2, 4, 8, 24, 72)
_BY_MINUTES = 4

#: The share of attempts that failed from which on it is an alarm.
ALARMING = 0.1

#: Points that a line has at most: more than these nobody can tell apart.
POINTS = 150

#: What the rows can be ordered by: the greatest first.
ORDERS: dict[str, Callable[[JobMetrics], float]] = {
    "time": lambda job: job.seconds,
    "count": lambda job: job.processed,
    "failed": lambda job: job.failed,
    "rate": lambda job: job.failure_rate,
    "average": lambda job: job.average,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one class did, as a line of the table; the times are texts."""

    name: str
    shown: str
    job: JobMetrics
    trend: Sparkline
    rate: str
    is_bad: bool
    percentiles: tuple[str, ...]


def _all(visit: Visit) -> HttpResponse:
    hours, wanted = _span(visit), visit.query.get("class", "").strip()
    by = visit.query.get("by", "time")
    if by not in ORDERS:
        raise InvalidQuery("by", by, f"there are {', '.join(ORDERS)}")
    report = Metrics().top_jobs(class_filter=wanted or None, **_window(hours))
    jobs = sorted(report.jobs.values(), key=ORDERS[by], reverse=True)
    rows = _rows(jobs[:MOST], hours)
    return visit.show(
        "metrics.html",
        _("Metrics"),
        rows=rows,
        more=max(len(jobs) - MOST, 0),
        total=len(jobs),
        wanted=wanted,
        by=by,
        span=hours,
        spans=SPANS,
        marks=_deploys(report),
        chart=_counts(report, jobs, _("Jobs of all classes")) if jobs else None,
        old=hours > SPANS[3],
    )


def _one(visit: Visit) -> HttpResponse:
    hours, name = _span(visit), visit.query.get("job", "")
    if not 0 < len(name) <= NAME:
        raise InvalidQuery("job", name[:NAME], "give the wire name of a class")
    report = Metrics().for_job(name, **_window(hours))
    job = report.jobs[name]
    return visit.show(
        "metrics_class.html",
        printable(name),
        job=job,
        name=name,
        span=hours,
        spans=SPANS,
        rate=_share(job.failure_rate),
        percentiles=[
            (_("half took at most"), _time(job.p50)),
            (_("95 of 100 took at most"), _time(job.p95)),
            (_("99 of 100 took at most"), _time(job.p99)),
        ],
        charts=[_counts(report, [job], _("Jobs")), _durations(report, job)],
        histogram=_histogram(job),
        marks=_deploys(report),
        old=hours > SPANS[3],
    )


# What is asked for ---------------------------------------------------------------


def _span(visit: Visit) -> int:
    """Return the hours that the address asks for. Raises: InvalidQuery."""
    given = visit.query.get("hours", "1")
    if given not in map(str, SPANS):
        raise InvalidQuery("hours", given, f"there are {', '.join(map(str, SPANS))}")
    return int(given)


def _window(hours: int) -> dict[str, Any]:
    return {"minutes": hours * 60} if hours <= _BY_MINUTES else {"hours": hours}


# What is shown -------------------------------------------------------------------


def _rows(jobs: Sequence[JobMetrics], hours: int) -> list[Row]:
    times = Metrics().percentiles([job.name for job in jobs], **_window(hours))
    return [
        Row(
            job.name,
            printable(job.name),
            job,
            sparkline(
                [_processed(part) for part in _parts(job.series[:-1])],
                title=_("Jobs of %(name)s") % {"name": printable(job.name)},
            ),
            _share(job.failure_rate),
            job.failure_rate >= ALARMING,
            tuple(map(_time, times.get(job.name, (None, None, None)))),
        )
        for job in jobs
    ]


def _counts(report: Report, jobs: Sequence[JobMetrics], title: str) -> LineChart:
    # Without the present slice: half of one looks as if half of the work had stopped.
    parts = _parts(list(zip(*(job.series[:-1] for job in jobs), strict=True)))
    slices = [[each for same in part for each in same] for part in parts]
    series = [
        Series(_("processed"), [_processed(part) for part in slices], "ok"),
        Series(_("failed"), [sum(each.failed for each in part) for part in slices], "bad"),
    ]
    length = seconds(report.length * len(parts[0])) if parts else ""
    named = _("%(what)s per %(length)s") % {"what": title, "length": length}
    return _over_time(report, slices, series, named, number)


def _durations(report: Report, job: JobMetrics) -> LineChart:
    slices = _parts(job.series)
    parts = [JobMetrics(job.name, tuple(part)) for part in slices]
    series = [
        Series(_("average"), [part.average or None for part in parts], "ok"),
        # What passes the last bucket has no end to draw: it stands where that bucket begins.
        Series("p95", [_capped(part.p95) for part in parts], "warn"),
    ]
    return _over_time(report, slices, series, _("Time of those that did not fail"), seconds)


def _over_time(
    report: Report,
    parts: Sequence[Sequence[Slice]],
    series: Sequence[Series],
    title: str,
    show: Callable[[float], str],
) -> LineChart:
    """Return a chart with the time of each part below it, and the deploys in it."""
    shape = "H:i" if report.ends_at - report.starts_at <= 8 * 3_600 else "D H:i"
    begins = [part[0].at for part in parts]
    labels = [date_format(timezone.localtime(moment(at)), shape) for at in begins]
    length = begins[1] - begins[0] if len(begins) > 1 else report.length
    marks = [
        ((mark.at - begins[0]) / length, printable(mark.label)[:NAME])
        for mark in report.marks
        if begins and mark.at >= begins[0]
    ]
    return line_chart(series, labels, title=title, marks=marks, show=show)


def _parts(series: Sequence[T]) -> list[Sequence[T]]:
    """Return the slices some at a time, as many of each as it takes to be no more than can be."""
    size = math.ceil(len(series) / POINTS) or 1
    return [series[at : at + size] for at in range(len(series) % size, len(series), size)]


def _processed(part: Sequence[Slice]) -> int:
    return sum(each.processed for each in part)


def _histogram(job: JobMetrics) -> BarChart | None:
    counts = job.histogram
    if counts is None or not any(counts):
        return None
    ends = [_("up to %(time)s") % {"time": _end(end)} for end in BUCKET_ENDS[:-1]]
    ends.append(_("above %(time)s") % {"time": _end(BUCKET_ENDS[-2])})
    title = _("How many took how long")
    return bar_chart(counts, ends, title=title, css="neutral")


def _deploys(report: Report) -> list[tuple[float, str]]:
    """Return when the latest deploys were and what they are called, the latest first."""
    return [(mark.at, printable(mark.label)) for mark in report.marks[: -DEPLOYS - 1 : -1]]


def _capped(time: float | None) -> float | None:
    return time if time is None else min(time, BUCKET_ENDS[-2])


def _time(time: float | None) -> str:
    if time is None:
        return NOTHING
    return f"> {_end(BUCKET_ENDS[-2])}" if math.isinf(time) else _end(time)


def _end(time: float) -> str:
    """Return the end of a bucket: to the second, for it is one."""
    return seconds(time) if time < 60 else f"{number_format(time, 0)} s"


def _share(rate: float) -> str:
    return f"{number_format(rate * 100, 1 if rate else 0)} %"


routes: list[Route] = [
    Page("metrics/", "metrics", _all),
    Page("metrics/class/", "metrics_class", _one),
]
