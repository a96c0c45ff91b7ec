"""The queues: how much waits in each, for how long, and whether anybody works it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django_jobqueue.api import Stats
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.store.store import Store


@dataclass(frozen=True, slots=True)
class QueueFacts(Plain):
    """
    One queue.

    ``latency`` is for how many seconds the next job has waited. ``unworked`` is whether
    jobs wait that no live process works; ``broken`` whether Redis holds something there
    that is no queue.
    """

    name: str
    size: int
    latency: float
    paused: bool
    unworked: bool
    broken: bool


@dataclass(frozen=True, slots=True)
class Queues(Plain):
    """All queues at one moment, the fullest first, the empty ones too."""

    at: datetime
    queues: tuple[QueueFacts, ...]


def queues(*, store: Store | None = None) -> Queues:
    """Return all queues, in one round trip. Raises: StoreError."""
    return Queues(now(), of_stats(Stats(store=store)))


def of_stats(stats: Stats) -> tuple[QueueFacts, ...]:
    """Return the queues of what was read."""
    latencies, paused = stats.latencies, stats.paused
    unworked, broken = frozenset(stats.unworked), frozenset(stats.broken)
    return tuple(
        QueueFacts(name, size, latencies[name], name in paused, name in unworked, name in broken)
        for name, size in stats.queues.items()
    )


def by_urgency(queue: QueueFacts) -> tuple[bool, bool, int, str]:
    """Return what to sort queues by: what needs somebody comes first, and the rest by size."""
    return not (queue.broken or queue.unworked), not queue.paused, -queue.size, queue.name
