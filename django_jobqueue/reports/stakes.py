"""What throwing a kill switch would stop: known before it is thrown, from samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django_jobqueue.api import Metrics, Queue, RetrySet, ScheduledSet, Stats, WorkSet
from django_jobqueue.api.jobs import Jobs
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.reports.samples import sample

#: Entries of a place that are looked at.
SAMPLE = 300

#: The fullest queues that are looked at beside the job's own.
QUEUES = 4

#: Minutes of the metrics that the rate is the mean of, the present one not counted.
MINUTES = 10


@dataclass(frozen=True, slots=True)
class Estimate(Plain):
    """
    How many jobs of a class stand in a place (``queue:NAME``, ``schedule`` or ``retry``).

    Of ``size`` jobs ``looked_at``, evenly spaced, were read; ``count`` follows from the share
    of them that are of the class, and is ``exact`` where all were read.
    """

    place: str
    size: int
    looked_at: int
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Stakes(Plain):
    """
    What a switch would stop of the class ``name`` (in Redis).

    ``per_minute`` is how many jobs ended well a minute, lately: while the queue neither
    grows nor shrinks, that many are enqueued, and would be refused. ``waiting`` would be
    held when their turn comes, in the class's own queue, in the fullest others, and where they
    wait for a time; ``unseen`` queues have jobs and were not looked at. ``running`` go on to
    their end. ``held`` are held already.
    """

    at: datetime
    name: str
    per_minute: float
    running: int
    held: int
    waiting: tuple[Estimate, ...]
    unseen: int


def stakes(cls: type[Job]) -> Stakes:
    """Return what a switch would stop of a class. Raises: StoreError."""
    name, stats = wire_name(cls), Stats()
    places = list(_places(cls, stats))
    queues = sum(place.startswith("queue:") for place, _, _ in places)
    return Stakes(
        at=now(),
        name=name,
        per_minute=_per_minute(name),
        running=sum(work.job.job_class == name for work in WorkSet()),
        held=stats.held_by_class.get(name, 0),
        waiting=tuple(_estimate(place, size, jobs, name) for place, size, jobs in places),
        unseen=sum(size > 0 for size in stats.queues.values()) - queues,
    )


def _per_minute(name: str) -> float:
    report = Metrics().for_job(name, minutes=MINUTES + 1)
    # The present minute has only just begun.
    whole = report.jobs[name].series[:-1]
    return sum(part.processed - part.failed for part in whole) / len(whole)


def _places(cls: type[Job], stats: Stats) -> Iterator[tuple[str, int, Jobs[Any]]]:
    sizes = stats.queues
    broken = frozenset(stats.broken)
    others = (queue for queue in sizes if queue and queue != cls.queue and queue not in broken)
    fullest = list(islice(others, QUEUES))
    for queue in (cls.queue, *fullest):
        if sizes.get(queue):
            yield f"queue:{queue}", sizes[queue], Queue(queue)
    yield "schedule", stats.scheduled, ScheduledSet()
    yield "retry", stats.retries, RetrySet()


def _estimate(place: str, size: int, jobs: Jobs[Any], name: str) -> Estimate:
    seen = sample(jobs, SAMPLE) if size else []
    found = sum(entry.job_class == name for entry in seen)
    exact = len(seen) >= size
    return Estimate(
        place=place,
        size=size,
        looked_at=len(seen),
        count=found if exact else round(size * found / len(seen)) if seen else 0,
        exact=exact,
    )
