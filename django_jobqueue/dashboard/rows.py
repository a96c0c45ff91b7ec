"""A job as a row of a table: texts printable and short, arguments only for who may see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobqueue import redaction
from django_jobqueue.api import Entry, JobRecord, Process, SortedEntry
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reports.entries import attempts_of

#: Characters that a cell shows of the arguments and of an error's message.
ARGS, MESSAGE = 120, 200


@dataclass(frozen=True, slots=True)
class Row:
    """
    What a table shows of one job.

    ``key`` is what a form names it by: the entry's key in a sorted set, its jid in a queue;
    empty where it can be named by nothing. ``url`` leads to its page. ``args`` is None for
    who may not see them. ``attempts`` is None where the job is given time and no number.
    """

    key: str
    url: str
    jid: str
    job_class: str
    queue: str
    at: datetime | None
    attempt: int
    attempts: int | None
    has_failed: bool
    error_class: str
    message: str
    args: str | None
    problem: str
    held_from: str
    tags: tuple[str, ...]


def rows_of(visit: Visit, place: str, entries: Iterable[Entry], **where: Any) -> list[Row]:
    """
    Return the rows of some entries of a place (``retry``, ``queue:NAME`` and so on).

    ``where`` is what the link to a job tells besides: ``start`` and ``order`` of the page, by
    which it is found again in a queue.
    """
    may_see = visit.may(Permission.VIEW_ARGUMENTS)
    told = where if place.startswith("queue:") else {}
    return [_row(visit, place, entry, told, may_see=may_see) for entry in entries]


def key_of(record: JobRecord) -> str:
    """Return what a form names a job by, within its place; empty for what no form can send."""
    key = record.key if isinstance(record, SortedEntry) else record.jid
    try:
        key.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON has it, and no page
        return ""
    return key


def name_of(process: Process) -> str:
    """Return what people call a process: its host and its number, where it tells them."""
    return f"{process.hostname}:{process.pid}" if process.hostname else process.identity


def list_of(visit: Visit, place: str) -> str:
    """Return the link to the list of a place."""
    kind, _colon, name = place.partition(":")
    if kind == "held":
        return visit.url("held", **{"class": name})
    if kind == "queue":
        return visit.url("queues_queue", of=name)
    return visit.url({"schedule": "scheduled", "retry": "retries"}.get(kind, "dead"))


def _row(visit: Visit, place: str, entry: Entry, where: Mapping[str, Any], *, may_see: bool) -> Row:
    attempt, attempts = attempts_of(entry)
    key = key_of(entry)
    return Row(
        key=key,
        url=visit.url("job", place=place, key=key, **where) if key else "",
        jid=printable(entry.jid),
        job_class=printable(entry.display_class),
        queue=printable(entry.queue),
        at=entry.at if isinstance(entry, SortedEntry) else entry.enqueued_at or entry.created_at,
        attempt=attempt,
        attempts=attempts,
        has_failed=entry.retry_count is not None,
        error_class=printable(entry.error_class),
        message=short(redaction.redact_text(entry, entry.error_message), MESSAGE),
        args=redaction.shown_args(entry, limit=ARGS) if may_see else None,
        problem=printable(entry.problem),
        held_from=printable(getattr(entry, "held_from", None) or ""),
        tags=tuple(printable(tag) for tag in entry.tags[:5]),
    )


def short(text: str, limit: int) -> str:
    """Return the first line of a text, printable and cut."""
    line = text.lstrip()[: 4 * limit].partition("\n")[0].rstrip()
    return printable(line if len(line) <= limit else f"{line[:limit]}...")
