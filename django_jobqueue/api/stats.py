"""How much was done and how much waits, at a glance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django_jobqueue import clock, connection
from django_jobqueue.api.metrics import MOST_MINUTES, Slice
from django_jobqueue.api.processes import Process
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.store.metrics import MINUTE
from django_jobqueue.store.queues import waited
from django_jobqueue.store.stats import Overview
from django_jobqueue.store.store import Store

#: Days that there are counters of: what a worker writes is kept for five years.
MOST_DAYS = 5 * 365

#: The totals that can begin anew.
RESETTABLE = ("processed", "failed")


@dataclass(frozen=True, slots=True)
class Day:
    """
    What was done on one UTC day, ``day``.

    ``processed`` counts every attempt that ended, ``failed`` those that raised.
    """

    day: date
    processed: int
    failed: int


class Stats:
    """
    Everything at a glance, from one moment: the first property that is read asks Redis.

    One round trip (the first in a process, and one that meets a new queue or
    process, two), however much waits. What was read stays until ``refresh``.
    With ``days`` (at most 1,825) and ``minutes`` (at most 480) the counters of so many days and
    minutes are read as well, the present ones among them. A key of a wrong type counts as
    empty and stands in ``broken``. ``store`` is another Redis than the settings'.

    Raises: InvalidQuery. And from whatever asks Redis: StoreUnavailable, StoreFull,
    StoreRefused.
    """

    def __init__(self, *, days: int = 0, minutes: int = 0, store: Store | None = None) -> None:
        self._given = store
        self._read: Overview | None = None
        self._days = _at_most(days, "days", MOST_DAYS)
        self._minutes = _at_most(minutes, "minutes", MOST_MINUTES)

    @property
    def _store(self) -> Store:
        return connection.store() if self._given is None else self._given

    @property
    def _overview(self) -> Overview:
        if self._read is None:
            self._read = self._look()
        return self._read

    def _look(self) -> Overview:
        now = clock.now()
        today, minute = datetime.fromtimestamp(now, UTC).date(), now // MINUTE * MINUTE
        return self._store.stats.overview(
            [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(self._days))],
            [minute - MINUTE * ago for ago in reversed(range(self._minutes))],
        )

    def refresh(self) -> Stats:
        """Read everything anew; return itself."""
        self._read = self._look()
        return self

    # Totals --------------------------------------------------------------------

    @property
    def processed(self) -> int:
        """Attempts that ended, failures included, since the data began or ``reset``."""
        return self._overview.counters["processed"]

    @property
    def failed(self) -> int:
        """Attempts that raised."""
        return self._overview.counters["failed"]

    @property
    def counters(self) -> dict[str, int]:
        """
        All totals by name: beside those two what else became of jobs.

        ``recovered``, ``fenced``, ``snooze``, ``skipped``, ``expired``, ``discarded``,
        ``forget``, ``back``, ``refused``, ``held``, ``dropped``; each once it has
        happened.
        """
        return dict(self._overview.counters)

    # What waits ----------------------------------------------------------------

    @property
    def enqueued(self) -> int:
        """Jobs in all queues."""
        return sum(self._overview.queues.values())

    @property
    def scheduled(self) -> int:
        """Jobs that run later."""
        return self._overview.sizes["schedule"]

    @property
    def retries(self) -> int:
        """Jobs that failed and are tried again."""
        return self._overview.sizes["retry"]

    @property
    def dead(self) -> int:
        """Jobs that failed for good and are kept."""
        return self._overview.sizes["dead"]

    @property
    def held(self) -> int:
        """Jobs that kill switches hold."""
        return sum(self._overview.held.values())

    @property
    def held_by_class(self) -> dict[str, int]:
        """Held jobs by the wire name of their class."""
        return dict(sorted(self._overview.held.items()))

    @property
    def queues(self) -> dict[str, int]:
        """Jobs of each queue, the fullest first, the empty ones too."""
        found = self._overview.queues
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    @property
    def latencies(self) -> dict[str, float]:
        """For how many seconds the next job of each queue has waited; 0.0 of an empty one."""
        heads = self._overview.heads
        return {
            name: waited(heads[name]) if name in heads else 0.0
            for name in sorted(self._overview.queues)
        }

    @property
    def default_queue_latency(self) -> float:
        """For how many seconds the next job of the queue ``default`` has waited."""
        return self.latencies.get("default", 0.0)

    @property
    def paused(self) -> frozenset[str]:
        """The queues that are paused, jobs in them or not."""
        return self._overview.paused

    # Who works -----------------------------------------------------------------

    @property
    def processes(self) -> int:
        """Processes that gave a sign of life within the last minute."""
        return len(self._overview.processes)

    @property
    def process_list(self) -> list[Process]:
        """These processes, as ``ProcessSet`` has them."""
        found = self._overview.processes
        return [Process(self._store, found[identity]) for identity in sorted(found)]

    @property
    def busy(self) -> int:
        """Jobs that run (Sidekiq's ``workers_size``), as counted with the last beats."""
        return sum(process.busy for process in self.process_list)

    @property
    def concurrency(self) -> int:
        """How many jobs all processes run at once, at most."""
        return sum(process.concurrency for process in self.process_list)

    @property
    def unworked(self) -> list[str]:
        """The queues with jobs that no process works: a quiet one takes none."""
        awake = [process for process in self.process_list if not process.is_quiet]
        worked = {queue for process in awake for queue in process.queues}
        waiting = (name for name, size in self._overview.queues.items() if size)
        return sorted(name for name in waiting if name not in worked)

    # What is not as it should be -----------------------------------------------

    @property
    def broken(self) -> list[str]:
        """The queues that cannot be read: something else stands in their place."""
        names = self._overview.queues
        return sorted(name for name in names if f"queue:{name}" in self._overview.broken)

    @property
    def broken_keys(self) -> list[str]:
        """The keys, without their prefix, that have a wrong type: ``queue:low``, ``retry``."""
        return sorted(self._overview.broken)

    # Days and minutes ----------------------------------------------------------

    @property
    def days(self) -> list[Day]:
        """What was done on each of the last ``days``, the oldest first, today among them."""
        found = self._overview.days
        return [Day(date.fromisoformat(day), *count) for day, count in found.items()]

    @property
    def minutes(self) -> list[Slice]:
        """What all classes did in each of the last ``minutes``, the oldest first."""
        found = self._overview.minutes
        return [
            Slice(start, sums.processed, sums.failed, sums.ms / 1000)
            for start, sums in found.items()
        ]

    @property
    def stopped(self) -> dict[str, Counter[str]]:
        """
        What kill switches stopped in these minutes, by the wire name of the class.

        Counted by ``refused``, ``held`` and ``dropped``.
        """
        return {name: Counter(counts) for name, counts in sorted(self._overview.stopped.items())}

    def history(self, days: int, start: date | None = None) -> list[Day]:
        """
        Return what was done on each of some days, the latest first, in one round trip.

        ``start`` is the latest, by default today; days are those of UTC. 1 to 1,825.

        Raises: InvalidQuery.
        """
        if type(days) is not int or not 1 <= days <= MOST_DAYS:
            raise InvalidQuery("days", days, f"there are 1 to {MOST_DAYS:,} days")
        latest = datetime.fromtimestamp(clock.now(), UTC).date() if start is None else start
        if type(latest) is not date:  # a datetime is one, too, and of any time zone
            raise InvalidQuery("start", start, "give a date")
        try:
            wanted = [latest - timedelta(days=ago) for ago in range(days)]
        except OverflowError:
            raise InvalidQuery("start", start, "no calendar goes back that far") from None
        counts = self._store.stats.days([day.isoformat() for day in wanted])
        return [Day(day, *count) for day, count in zip(wanted, counts, strict=True)]

    def reset(self, *names: str) -> None:
        """
        Let the totals ``processed`` and ``failed``, or one of them, begin at 0 again.

        The days keep theirs. Raises: InvalidQuery.
        """
        for name in names:
            if name not in RESETTABLE:
                raise InvalidQuery("name", name, f"there are {' and '.join(RESETTABLE)}")
        self._store.stats.reset(names or RESETTABLE)
        self._read = None


def _at_most(count: object, name: str, limit: int) -> int:
    if type(count) is int and 0 <= count <= limit:
        return count
    raise InvalidQuery(name, count, f"there are at most {limit:,}")
