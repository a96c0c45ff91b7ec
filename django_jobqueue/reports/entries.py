"""The jobs that wait in a place: a page of them, or those that a filter finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobqueue import redaction
from django_jobqueue.api import Filter, HeldEntry, JobRecord, SortedEntry
from django_jobqueue.bulk import place_of
from django_jobqueue.payload import DEFAULT_RETRIES
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain

#: Entries of a page where nothing is said, and seconds that a search takes.
COUNT = 50
BUDGET = 0.25


@dataclass(frozen=True, slots=True)
class EntryFacts(Plain):
    """
    One job that waits.

    ``key`` finds it again in its set; empty in a queue. ``at`` is the time by which it
    stands there: when it runs, died, or since when it is held; in a queue since when it
    waits there. ``attempts`` is how many were begun and ``attempts_allowed`` how many there are
    at most, None where the job is given time and no number. ``valid`` is False for bytes
    that are no job, and ``problem`` says why. ``args`` is None where nobody asked for the
    arguments; else they are redacted, and so is ``error_message`` in any case.
    """

    key: str
    jid: str
    job_class: str
    display_class: str
    queue: str
    at: datetime | None
    created_at: datetime | None
    enqueued_at: datetime | None
    failed_at: datetime | None
    retried_at: datetime | None
    attempts: int
    attempts_allowed: int | None
    crashes: int
    error_class: str
    error_message: str
    tags: tuple[str, ...]
    held_from: str | None
    valid: bool
    problem: str
    args: list[Any] | None


@dataclass(frozen=True, slots=True)
class Entries(Plain):
    """
    Jobs that wait in ``place``, which has ``size`` of them.

    ``start`` is the first that is shown, counted from 0. Where a ``filter`` searched,
    ``looked_at`` is how many it has read, about, and ``cursor`` where to go on, None
    where all was looked at: a number, as text, for it has too many digits for some.
    """

    at: datetime
    place: str
    size: int
    filter: dict[str, Any]
    start: int
    looked_at: int
    cursor: str | None
    entries: tuple[EntryFacts, ...]


def entries(
    place: str,
    filter: Filter | None = None,
    *,
    start: int = 0,
    count: int = COUNT,
    newest_first: bool = False,
    cursor: int = 0,
    budget: float | None = BUDGET,
    with_args: bool = False,
) -> Entries:
    """
    Return jobs of a place: ``queue:NAME``, ``schedule``, ``retry``, ``dead`` or ``held:CLASS``.

    Without a filter it is the page from ``start`` on, the next to run (or the earliest) first.
    With one, up to ``count`` that match, looked for from ``cursor`` on for ``budget``
    seconds, in no order.

    Raises: InvalidQuery, StoreError.
    """
    jobs = place_of(place)
    size = len(jobs)
    if filter is None or filter.is_empty:
        page = jobs.page(start, count, newest_first=newest_first)
        return Entries(now(), place, size, {}, start, len(page), None, _facts(page, with_args))
    found = jobs.search(filter, budget=budget, cursor=cursor, limit=count)
    return Entries(
        now(), place, size, filter.as_dict(), 0, found.looked_at, text_of(found.cursor),
        _facts(found.entries, with_args),
    )  # fmt: skip


def facts_of(record: JobRecord, *, with_args: bool = False) -> EntryFacts:
    """Return what is reported of a job."""
    key, at = "", record.enqueued_at or record.created_at
    if isinstance(record, SortedEntry):
        key, at = record.key, record.at
    begun, allowed = attempts_of(record)
    return EntryFacts(
        key=key,
        jid=record.jid,
        job_class=record.job_class,
        display_class=record.display_class,
        queue=record.queue,
        at=at,
        created_at=record.created_at,
        enqueued_at=record.enqueued_at,
        failed_at=record.failed_at,
        retried_at=record.retried_at,
        attempts=begun,
        attempts_allowed=allowed,
        crashes=record.crashes,
        error_class=record.error_class,
        error_message=redaction.redact_text(record, record.error_message),
        tags=tuple(record.tags),
        held_from=record.held_from if isinstance(record, HeldEntry) else None,
        valid=record.is_valid,
        problem=record.problem,
        args=redaction.redact_args(record) if with_args else None,
    )


def text_of(cursor: int | None) -> str | None:
    """Return a cursor as JSON can hold it without loss, whoever reads it."""
    return None if cursor is None else str(cursor)


def attempts_of(record: JobRecord) -> tuple[int, int | None]:
    """Return how many attempts of a job were begun, and how many it has; None: it has time."""
    payload = record.payload
    if payload is None:
        return 0, 0
    begun = 0 if payload.retry_count is None else payload.retry_count + 1
    if payload.retry_for is not None:
        return begun, None
    retries = DEFAULT_RETRIES if payload.retry is True else int(payload.retry)
    return begun, max(begun, retries + 1)


def _facts(found: Sequence[JobRecord], with_args: bool) -> tuple[EntryFacts, ...]:
    return tuple(facts_of(each, with_args=with_args) for each in found)
