"""One job, wherever it is: every field, its traceback, its lock, and who runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django_jobqueue import redaction
from django_jobqueue.api import Entry, HeldSet, JobRecord, Queue, WorkSet
from django_jobqueue.bulk import place_of
from django_jobqueue.reports.entries import EntryFacts, facts_of
from django_jobqueue.reports.plain import Plain

#: The sets that a job is looked for in, those first where most are looked for.
_SETS = ("dead", "retry", "schedule")


@dataclass(frozen=True, slots=True)
class JobFacts(Plain):
    """
    One job and where it stands.

    ``place`` is as for ``entries``, or ``process IDENTITY`` while it runs. ``fields`` are all
    that it has, redacted, without the arguments where nobody asked for them.
    ``lock_owner`` is the jid that holds the lock of a unique job, None where it is free.
    ``url`` is what the class links it to (``Job.admin_url``).
    """

    place: str
    entry: EntryFacts
    fields: dict[str, Any]
    backtrace: tuple[str, ...]
    unique_digest: str | None
    lock_owner: str | None
    url: str | None


def job(jid: str, *, place: str | None = None, with_args: bool = False) -> list[JobFacts]:
    """
    Return the job with this id, from every place where it stands; mostly that is one, or none.

    Everything is read until the end, 500 entries at a time, or one ``place`` only.

    Raises: InvalidQuery, StoreError.
    """
    where = None if place is None else [place]
    return [_facts(*found, with_args=with_args) for found in _search(jid, where)]


def places() -> list[str]:
    """Return every place in which jobs wait: sets, queues, what kill switches hold."""
    held = (f"held:{each.job_class}" for each in HeldSet.all())
    return [*_SETS, *held, *(f"queue:{queue.name}" for queue in Queue.all())]


def _search(jid: str, where: list[str] | None) -> Iterator[tuple[str, JobRecord]]:
    if where is None:
        running = WorkSet().find(jid)
        if running is not None:
            yield f"process {running.process}", running.job
    for place in places() if where is None else where:
        entry = place_of(place).find(jid, budget=None)
        if entry is not None:
            yield place, entry


def _facts(place: str, record: JobRecord, *, with_args: bool) -> JobFacts:
    fields = redaction.redact_fields(record)
    backtrace = fields.pop("error_backtrace", [])
    if not with_args:
        fields.pop("args", None)
    return JobFacts(
        place=place,
        entry=facts_of(record, with_args=with_args),
        fields=fields,
        backtrace=tuple(backtrace),
        unique_digest=record.unique_digest,
        lock_owner=record.lock_owner() if isinstance(record, Entry) else None,
        url=redaction.admin_url_of(record),
    )
