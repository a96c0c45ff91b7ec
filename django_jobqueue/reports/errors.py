"""The failures grouped: which error of which class is how much of what waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django_jobqueue import redaction
from django_jobqueue.api import JobRecord, error_group
from django_jobqueue.bulk import place_of
from django_jobqueue.reports import samples
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain

#: Where jobs stand that have failed.
PLACES = ("retry", "dead")

#: Entries that are looked at, of each place.
SAMPLE = 500

#: Characters of a message that is shown.
MESSAGE = 200


@dataclass(frozen=True, slots=True)
class ErrorGroup(Plain):
    """
    Jobs of one class that failed in one way.

    ``frame`` is where it was raised, ``message`` the first line of what was said with ``#``
    for every number, and redacted. ``seen`` counts those among the entries that were
    looked at, and ``count`` is what that makes of all, about. ``first`` and ``last`` are the
    times of the failures that were seen, ``jid`` is one of the jobs.
    """

    place: str
    job_class: str
    error_class: str
    frame: str
    message: str
    seen: int
    count: int
    first: datetime | None
    last: datetime | None
    jid: str


@dataclass(frozen=True, slots=True)
class Errors(Plain):
    """
    The errors of what waits for a retry or is dead, the most frequent first.

    ``looked_at`` of ``size`` entries were read: where that is fewer, counts are estimates.
    """

    at: datetime
    size: int
    looked_at: int
    groups: tuple[ErrorGroup, ...]


@dataclass(slots=True)
class _Seen:
    example: JobRecord
    count: int = 0
    times: list[datetime] = field(default_factory=list)


def errors(*places: str, sample: int = SAMPLE) -> Errors:
    """
    Return the failures in these places (``retry``, ``dead``; by default both), grouped.

    Up to ``sample`` entries of each are read, evenly spaced over the whole; of huge ones
    fewer. Raises: InvalidQuery, StoreError.
    """
    size = looked_at = 0
    groups: list[ErrorGroup] = []
    for place in places or PLACES:
        jobs = place_of(place)
        there, found = len(jobs), samples.sample(jobs, sample)
        size, looked_at = size + there, looked_at + len(found)
        groups += _grouped(place, found, there)
    groups.sort(key=lambda group: (-group.count, group.job_class, group.error_class))
    return Errors(now(), size, looked_at, tuple(groups))


def _grouped(place: str, found: Sequence[JobRecord], size: int) -> Iterable[ErrorGroup]:
    seen: dict[tuple[str, str, str, str], _Seen] = {}
    for entry in found:
        group = seen.setdefault(error_group(entry), _Seen(entry))
        group.count += 1
        when = entry.retried_at or entry.failed_at
        if when is not None:
            group.times.append(when)
    for (job_class, error_class, frame, message), group in seen.items():
        yield ErrorGroup(
            place, job_class, error_class, frame, _shown(message, group.example), group.count,
            max(group.count, round(group.count * size / len(found))),
            min(group.times, default=None), max(group.times, default=None), group.example.jid,
        )  # fmt: skip


def _shown(message: str, example: JobRecord) -> str:
    """Return the message of a group, or one of its messages where something is to be hidden."""
    shown = redaction.redact_text(example, example.error_message)
    if shown == example.error_message:
        return message
    return shown.strip().partition("\n")[0][:MESSAGE]
