"""Everything at a glance: how much was done, how much waits, who works, what is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django_jobqueue import connection
from django_jobqueue.api import Day, Stats
from django_jobqueue.reports.metrics import Point, point
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.reports.queues import QueueFacts, of_stats
from django_jobqueue.store.store import Store

#: How far back the overview looks where nothing is said.
DAYS = 7
MINUTES = 60


@dataclass(frozen=True, slots=True)
class Overview(Plain):
    """
    Everything at one moment, ``at``.

    ``processed`` counts every attempt that ended, ``failed`` those of them that raised,
    since the data began; ``counters`` what else became of jobs. ``concurrency`` is how many
    jobs all processes run at once, at most. ``switches`` has the state of every kill switch
    that is not off, by flag: ``"on"`` or a percentage; None where Redis does not have them.
    ``unworked`` are the queues with jobs that no process works, ``broken`` the keys, without
    their prefix, that have a wrong type and count as empty. ``days`` and ``minutes`` are the
    oldest first; ``stopped`` is what kill switches did in these minutes, by class.
    """

    at: datetime
    processed: int
    failed: int
    busy: int
    concurrency: int
    processes: int
    enqueued: int
    scheduled: int
    retries: int
    dead: int
    held: int
    held_by_class: dict[str, int]
    queues: tuple[QueueFacts, ...]
    unworked: tuple[str, ...]
    broken: tuple[str, ...]
    switches: dict[str, str] | None
    counters: dict[str, int]
    stopped: dict[str, dict[str, int]]
    days: tuple[Day, ...]
    minutes: tuple[Point, ...]


def overview(*, days: int = DAYS, minutes: int = MINUTES, store: Store | None = None) -> Overview:
    """
    Return everything at a glance, in two round trips; three where there is a new queue.

    ``days`` and ``minutes`` are how far back it looks. Raises: InvalidQuery, StoreError.
    """
    stats = Stats(days=days, minutes=minutes, store=store)
    switches = (connection.store() if store is None else store).switches.read()
    return Overview(
        at=now(),
        processed=stats.processed,
        failed=stats.failed,
        busy=stats.busy,
        concurrency=stats.concurrency,
        processes=stats.processes,
        enqueued=stats.enqueued,
        scheduled=stats.scheduled,
        retries=stats.retries,
        dead=stats.dead,
        held=stats.held,
        held_by_class=stats.held_by_class,
        queues=of_stats(stats),
        unworked=tuple(stats.unworked),
        broken=tuple(stats.broken_keys),
        switches=switches,
        counters=stats.counters,
        stopped={name: dict(counts) for name, counts in stats.stopped.items()},
        days=tuple(stats.days),
        minutes=tuple(map(point, stats.minutes)),
    )
