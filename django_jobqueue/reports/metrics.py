"""How often each class ran, how long it took and how often it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django_jobqueue.api import JobMetrics, Metrics, Slice
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.reports.moments import moment
from django_jobqueue.reports.plain import Plain

#: Classes of which percentiles are read: histograms are the larger part of what is kept.
MEASURED = 50

_UNKNOWN: tuple[None, None, None] = (None, None, None)


@dataclass(frozen=True, slots=True)
class Point(Plain):
    """What was done from ``at`` on, in a minute or in ten; ``seconds`` is the sum of the times."""

    at: datetime
    processed: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClassFacts(Plain):
    """
    What one class did; ``name`` is its wire name.

    Times are in seconds and of attempts that did not fail. Percentiles are the ends of
    buckets: ``math.inf`` (in JSON None) for more than 335 s, None where nothing succeeded,
    and for the classes behind the first 50. ``series`` is the oldest first; empty but for
    a class that was asked for alone.
    """

    name: str
    processed: int
    failed: int
    failure_rate: float
    seconds: float
    average: float
    p50: float | None
    p95: float | None
    p99: float | None
    series: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class MarkFacts(Plain):
    """A deploy."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True)
class MetricsFacts(Plain):
    """What the classes did from ``starts_at`` to ``ends_at``: the one that took most time first."""

    starts_at: datetime
    ends_at: datetime
    jobs: tuple[ClassFacts, ...]
    marks: tuple[MarkFacts, ...]


def metrics(
    job_class: str | None = None, *, minutes: int | None = None, hours: int | None = None
) -> MetricsFacts:
    """
    Return what every class did in the last ``minutes`` or ``hours`` (60 minutes by default).

    Or one class, by its wire name, with its series. One round trip or two.

    Raises: InvalidQuery for a time that is not kept, StoreError.
    """
    try:
        if job_class is None:
            found = Metrics().top_jobs(minutes=minutes, hours=hours)
            names = list(found.jobs)[:MEASURED]
            ends = Metrics().percentiles(names, minutes=minutes, hours=hours) if names else {}
        else:
            found = Metrics().for_job(job_class, minutes=minutes, hours=hours)
            job = found.jobs[job_class]
            ends = {job_class: (job.p50, job.p95, job.p99)}
    except ValueError as error:
        wanted = ("hours", hours) if hours is not None else ("minutes", minutes)
        raise InvalidQuery(*wanted, str(error)) from None
    jobs = (
        _facts(job, ends.get(job.name, _UNKNOWN), with_series=job_class is not None)
        for job in found.jobs.values()
    )
    return MetricsFacts(
        starts_at=moment(found.starts_at),
        ends_at=moment(found.ends_at),
        jobs=tuple(jobs),
        marks=tuple(MarkFacts(moment(mark.at), mark.label) for mark in found.marks),
    )


def point(part: Slice) -> Point:
    """Return a slice of the metrics with a time that people read."""
    return Point(moment(part.at), part.processed, part.failed, part.seconds)


def _facts(job: JobMetrics, ends: Sequence[float | None], *, with_series: bool) -> ClassFacts:
    p50, p95, p99 = ends
    return ClassFacts(
        name=job.name,
        processed=job.processed,
        failed=job.failed,
        failure_rate=job.failure_rate,
        seconds=job.seconds,
        average=job.average,
        p50=p50,
        p95=p95,
        p99=p99,
        series=tuple(map(point, job.series)) if with_series else (),
    )
