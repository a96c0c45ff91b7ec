"""How often each class ran and how long it took, minute by minute: what a graph is drawn of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django_jobqueue import clock
from django_jobqueue.connection import store
from django_jobqueue.store.metrics import (
    KEPT,
    LIMITS,
    MINUTE,
    TEN_MINUTES,
    Histogram,
    Marks,
    Sums,
)

#: The most that can be asked for: what is kept, and so the bound of every query.
MOST_MINUTES = KEPT[MINUTE] // 60
MOST_HOURS = KEPT[TEN_MINUTES] // 3_600

#: Where each bucket of a histogram ends, in seconds; the last has no end.
BUCKET_ENDS = (*(limit / 1000 for limit in LIMITS), math.inf)


@dataclass(frozen=True, slots=True)
class Slice:
    """
    What one class did in a minute, or in ten of them.

    ``at`` is the beginning in epoch seconds, UTC. ``processed`` counts every
    attempt that ended, ``failed`` those of them that raised. ``seconds`` is the sum
    of the times of those that did not. ``histogram`` has how many of these took
    how long, one number for each of ``BUCKET_ENDS``; None where nobody asked for
    it or it is no longer kept.
    """

    at: float
    processed: int
    failed: int
    seconds: float
    histogram: Histogram | None = None

    @property
    def average(self) -> float:
        """The mean time in seconds of the attempts that did not fail; 0.0 without any."""
        return _average(self.seconds, self.processed - self.failed)


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """
    What one class did: ``series`` has a slice for each minute or ten, the oldest first.

    ``name`` is its wire name. There are slices also for those in which it did nothing,
    so that series of two classes fit.
    """

    name: str
    series: tuple[Slice, ...]

    @property
    def processed(self) -> int:
        """Every attempt that ended, failures included, as in ``stat:processed``."""
        return sum(part.processed for part in self.series)

    @property
    def failed(self) -> int:
        """The attempts that raised."""
        return sum(part.failed for part in self.series)

    @property
    def seconds(self) -> float:
        """The sum of the times of the attempts that did not fail, in seconds."""
        return sum(part.seconds for part in self.series)

    @property
    def average(self) -> float:
        """The mean time in seconds of the attempts that did not fail; 0.0 without any."""
        return _average(self.seconds, self.processed - self.failed)

    @property
    def failure_rate(self) -> float:
        """The share of attempts that raised, from 0.0 to 1.0; 0.0 without any."""
        return self.failed / self.processed if self.processed else 0.0

    @property
    def histogram(self) -> Histogram | None:
        """All histograms of the series added up, 26 numbers; None where there is none."""
        found = [part.histogram for part in self.series if part.histogram is not None]
        return tuple(map(sum, zip(*found, strict=True))) if found else None

    def percentile(self, percent: float) -> float | None:
        """
        Return the seconds within which this share of the attempts ended, say 95.

        The end of the bucket in which that attempt lies, nothing is interpolated:
        so it took at most that long, and at least as long as the bucket before ends.
        ``math.inf`` means more than 335 s; None that there is no histogram or that
        nothing succeeded. Failed attempts are not in it. Raises: ValueError for a
        share that is not above 0 and at most 100.
        """
        if not 0 < percent <= 100:
            raise ValueError(f"a percentile is above 0 and at most 100, not {percent!r}")
        return _percentile(self.histogram, percent)

    @property
    def p50(self) -> float | None:
        """The time that half of the attempts did not pass; see ``percentile``."""
        return self.percentile(50)

    @property
    def p95(self) -> float | None:
        """The time that 95 of 100 attempts did not pass; see ``percentile``."""
        return self.percentile(95)

    @property
    def p99(self) -> float | None:
        """The time that 99 of 100 attempts did not pass; see ``percentile``."""
        return self.percentile(99)


@dataclass(frozen=True, slots=True)
class Mark:
    """A deploy: ``at`` is its minute in epoch seconds, UTC, and ``label`` what it is called."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    The answer to a query.

    ``length`` is the seconds of each slice, 60 or 600. It covers the time from
    ``starts_at`` to ``ends_at``, epoch seconds, UTC. ``jobs`` maps wire names to
    what the classes did, the one that took most time first. ``marks`` are the
    deploys of that time, the oldest first.
    """

    length: int
    starts_at: float
    ends_at: float
    jobs: dict[str, JobMetrics]
    marks: tuple[Mark, ...]


class Metrics:
    """
    Read what workers count with each beat, and mark deploys.

    The numbers are at most 10 s old. Those of each minute are kept for 8 hours and
    those of each ten minutes for 3 days. A query is one round trip.
    """

    def top_jobs(
        self,
        *,
        minutes: int | None = None,
        hours: int | None = None,
        class_filter: str | re.Pattern[str] | None = None,
    ) -> Report:
        """
        Return what every class did in the last ``minutes`` (1 to 480) or ``hours`` (1 to 72).

        The last 60 minutes by default; the present minute is the last slice. By
        hours a slice is ten minutes. ``class_filter`` is a text or a pattern that is
        found in the wire name. Without histograms: see ``for_job``.

        Raises: ValueError for a time that is not kept, StoreError.
        """
        length, starts = _window(minutes, hours)
        found, marks = store().metrics.read(starts, length)
        names = {name for sums in found for name in sums if _matches(name, class_filter)}
        jobs = [
            JobMetrics(
                name,
                tuple(
                    _slice(at, sums.get(name, Sums()))
                    for at, sums in zip(starts, found, strict=True)
                ),
            )
            for name in names
        ]
        jobs.sort(key=lambda job: (-job.seconds, -job.processed, job.name))
        return _report(length, starts, {job.name: job for job in jobs}, marks)

    def percentiles(
        self,
        names: Sequence[str],
        percents: Sequence[float] = (50, 95, 99),
        *,
        minutes: int | None = None,
        hours: int | None = None,
    ) -> dict[str, tuple[float | None, ...]]:
        """
        Return the percentiles of some classes, by wire name: see ``JobMetrics.percentile``.

        Of the last minutes or hours as ``top_jobs`` has them; histograms are kept for 8 hours, so
        that of more hours they tell of the last 8. One round trip; it reads 52 bytes for
        each class and minute, so ask for the classes of one page.

        Raises: ValueError for a time that is not kept, StoreError.
        """
        length, starts = _window(minutes, hours)
        oldest = clock.now() - KEPT[MINUTE]
        begins = [at + after for at in starts if at > oldest for after in range(0, length, MINUTE)]
        found = store().metrics.histograms(names, begins)
        return {
            name: tuple(_percentile(counts, percent) for percent in percents)
            for name, counts in found.items()
        }

    def for_job(self, name: str, *, minutes: int | None = None, hours: int | None = None) -> Report:
        """
        Return what one class, by its wire name, did in the last minutes or hours.

        As ``top_jobs``; with histograms, and so with percentiles. These are kept for
        8 hours: of more hours they tell of the last 8. A class that did nothing is in
        the report with zeros.

        Raises: ValueError for a time that is not kept, StoreError.
        """
        length, starts = _window(minutes, hours)
        found, marks = store().metrics.read_class(name, starts, length)
        series = tuple(
            _slice(at, sums, histogram) for at, (sums, histogram) in zip(starts, found, strict=True)
        )
        return _report(length, starts, {name: JobMetrics(name, series)}, marks)

    def mark(self, label: str, at: datetime | None = None) -> bool:
        """
        Mark a deploy, by default of this moment; return whether the mark is new.

        It is kept for 90 days. A minute has one mark, and within a minute a label is
        marked once, so that every process of a deploy may do it. ``at`` knows its
        time zone.

        Raises: ValueError for an empty label or a naive time, StoreError.
        """
        if not label:
            raise ValueError("a deploy is marked with a label, such as its version")
        if at is not None and at.tzinfo is None:
            raise ValueError(f"the time of a deploy needs a time zone: {at!r}")
        return store().metrics.mark(label, clock.now() if at is None else at.timestamp())

    def marks(self, day: date | None = None) -> tuple[Mark, ...]:
        """Return the deploys of one UTC day, by default of today. Raises: StoreError."""
        wanted = datetime.fromtimestamp(clock.now(), UTC) if day is None else day
        return _in_order(store().metrics.marks(f"{wanted:%Y%m%d}"))


def _window(minutes: int | None, hours: int | None) -> tuple[int, list[float]]:
    """Return the length of the slices and their beginnings, the oldest first."""
    if hours is None:
        wanted = 60 if minutes is None else minutes
        length, count, most = MINUTE, wanted, MOST_MINUTES
        what = "minutes"
    elif minutes is not None:
        raise ValueError("metrics are of minutes or of hours, not of both")
    else:
        wanted = hours
        length, count, most = TEN_MINUTES, hours * 6, MOST_HOURS
        what = "hours"
    if not 1 <= wanted <= most:
        raise ValueError(f"metrics are kept for 1 to {most} {what}, not {wanted!r}")
    last = clock.now() // length * length
    return length, [last - length * ago for ago in reversed(range(count))]


def _slice(at: float, sums: Sums, histogram: Histogram | None = None) -> Slice:
    return Slice(at, sums.processed, sums.failed, sums.ms / 1000, histogram)


def _report(
    length: int, starts: Sequence[float], jobs: dict[str, JobMetrics], marks: Marks
) -> Report:
    starts_at, ends_at = starts[0], starts[-1] + length
    inside = {at: label for at, label in marks.items() if starts_at <= at < ends_at}
    return Report(length, starts_at, ends_at, jobs, _in_order(inside))


def _in_order(marks: Marks) -> tuple[Mark, ...]:
    return tuple(Mark(at, label) for at, label in sorted(marks.items()))


def _percentile(counts: Histogram | None, percent: float) -> float | None:
    if counts is None or not any(counts):
        return None
    rank, passed = sum(counts) * percent / 100, 0
    for end, count in zip(BUCKET_ENDS, counts, strict=True):
        passed += count
        if passed >= rank:
            return end
    return math.inf


def _average(seconds: float, count: int) -> float:
    return seconds / count if count > 0 else 0.0


def _matches(name: str, wanted: str | re.Pattern[str] | None) -> bool:
    if wanted is None:
        return True
    return wanted in name if isinstance(wanted, str) else wanted.search(name) is not None
