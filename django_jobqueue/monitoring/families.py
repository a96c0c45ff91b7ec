"""The figures by name: which there are, and no more series of each than a Prometheus can bear."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Series of one family. Names come from whoever can push: they must not be able to
#: fill somebody's Prometheus.
MOST_SERIES = 1_000

#: Characters of the value of a label. What is longer was made up, and a part of it could
#: be the name of another.
LONGEST = 200

#: What each name begins with.
PREFIX = "jobqueue_"

COUNTER, GAUGE = "counter", "gauge"


@dataclass(frozen=True, slots=True)
class Declared:
    """One family: its name without the prefix, ``"counter"`` or ``"gauge"``, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: str = GAUGE


#: Every family, in the order in which they are told.
DECLARED = (
    Declared("up", "Whether all that stands in Redis could be read (1), or not (0)."),
    Declared("database_up", "Whether the state of the reconcilers could be read."),
    Declared("scrape_seconds", "How long it took to read all this."),
    Declared("left_out", "Series that are not told, for there would be too many.", ("family",)),
    # Totals
    Declared("processed_total", "Attempts that ended, failures included.", kind=COUNTER),
    Declared("failed_total", "Attempts that raised.", kind=COUNTER),
    Declared("refused_total", "Pushes that kill switches refused.", kind=COUNTER),
    Declared(
        "outcomes_total", "What became of jobs besides success and failure.", ("outcome",), COUNTER
    ),
    # What waits
    Declared("enqueued", "Jobs in all queues."),
    Declared("scheduled", "Jobs that run later."),
    Declared("retries", "Jobs that failed and are tried again."),
    Declared("dead", "Jobs that failed for good and are kept."),
    Declared("held", "Jobs that a kill switch holds, by class.", ("job_class",)),
    Declared("queues", "Queues that there are."),
    Declared("broken_keys", "Keys that hold another kind of value than they should."),
    Declared("queue_size", "Jobs in the queue.", ("queue",)),
    Declared("queue_latency_seconds", "How long its next job has waited.", ("queue",)),
    Declared("queue_paused", "Whether the queue is paused.", ("queue",)),
    Declared("queue_unworked", "Whether it has jobs, and no process works it.", ("queue",)),
    # Who works
    Declared("processes", "Worker processes that gave a sign of life within a minute."),
    Declared("processes_quiet", "Those of them that take no new jobs."),
    Declared("busy", "Jobs that run."),
    Declared("concurrency", "Jobs that can run at once."),
    Declared("utilisation", "Busy by concurrency, from 0 to 1."),
    Declared("process_busy", "Jobs that the process runs.", ("process",)),
    Declared("process_concurrency", "Jobs that it can run at once.", ("process",)),
    Declared("process_rss_bytes", "Its resident memory.", ("process",)),
    # By class
    Declared("recent_attempts", "Attempts that ended within five minutes.", ("job_class",)),
    Declared("recent_failures", "Those of them that raised.", ("job_class",)),
    Declared("recent_seconds", "The time that those took which did not raise.", ("job_class",)),
    # Kill switches
    Declared("kill_switches_on", "Kill switches that stop jobs, wholly or in part."),
    Declared("kill_switch", "The share of the jobs that it stops, from 0 to 1.", ("flag",)),
    # Reconcilers
    Declared(
        "reconciler_last_success_timestamp_seconds",
        "When it last looked at what it may look at; 0 for never.",
        ("reconciler",),
    ),
    Declared("reconciler_period_seconds", "The time between two runs.", ("reconciler",)),
    Declared("reconciler_paused", "Whether its timetable is paused.", ("reconciler",)),
    Declared("reconciler_failing", "Whether its last run failed.", ("reconciler",)),
    Declared("reconciler_skips", "Runs in a row that were skipped.", ("reconciler",)),
    Declared("reconciler_found", "Rows that its last run looked at.", ("reconciler",)),
    Declared("reconciler_pushed", "Jobs that its last run brought back.", ("reconciler",)),
    Declared(
        "reconciler_oldest_pending_seconds",
        "The age of the oldest row that its last run found.",
        ("reconciler",),
    ),
    Declared("reconciler_objective_seconds", "No row is to wait for longer.", ("reconciler",)),
    # The server
    Declared("redis_memory_bytes", "Memory that Redis uses."),
    Declared("redis_memory_peak_bytes", "The most that it has used."),
    Declared("redis_memory_limit_bytes", "The most that it may use; 0 for no limit."),
    Declared("redis_evicts", "Whether it throws keys away when it is full: jobs among them."),
    Declared("redis_uptime_seconds", "How long it has run."),
    Declared("redis_clients", "Connections to it."),
)


@dataclass(slots=True)
class Family:
    """A family and what was read of it: values by the values of its labels."""

    declared: Declared
    series: dict[tuple[str, ...], float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{PREFIX}{self.declared.name}"


class Figures:
    """All families, as they are filled. No value that was read elsewhere makes it raise."""

    def __init__(self) -> None:
        self._families = {each.name: Family(each) for each in DECLARED}
        self._left_out: dict[str, int] = {}

    def __iter__(self) -> Iterator[Family]:
        """Yield the families that have values."""
        for name, count in self._left_out.items():
            self._families["left_out"].series[name,] = count
        return (family for family in self._families.values() if family.series)

    def set(self, name: str, value: float, *labels: str) -> None:
        """
        Set one value. What there is no room for is counted, and told as ``left_out``.

        Of two that look the same in print the first stays: Prometheus would refuse all
        of a scrape in which a series comes twice.
        """
        shown = tuple(map(_shown, labels))
        series = self._families[name].series
        if shown in series:
            return
        if len(series) >= MOST_SERIES or any(len(label) > LONGEST for label in labels):
            self._left_out[name] = self._left_out.get(name, 0) + 1
        else:
            series[shown] = _number(value)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # somebody has written a whole number of hundreds of digits
        return math.inf


def _shown(label: str) -> str:
    """Return the value of a label: control characters and what is no text at all escaped."""
    if label.isprintable():
        return label
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in label)
