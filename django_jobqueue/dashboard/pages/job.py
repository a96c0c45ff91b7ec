"""One job: every field, its error with the traceback, its lock, who runs it, what can be done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from django_jobqueue import redaction
from django_jobqueue.api import (
    Entry,
    Filter,
    HeldEntry,
    JobRecord,
    LockSet,
    SortedEntry,
    Work,
    error_group,
)
from django_jobqueue.api.entries import split_key
from django_jobqueue.dashboard import lookup
from django_jobqueue.dashboard.asked import number
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.rows import key_of, list_of
from django_jobqueue.dashboard.verbs import offers
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.exceptions import InvalidQuery, SearchUnfinished
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reports.entries import attempts_of

#: Characters of the fields and of the traceback that are shown.
LONGEST = 100_000

#: What holds the arguments, or something of them: hidden from who may not see those.
_ARGUMENTS = ("args", "cattr", "raw")

#: Shown apart from the other fields.
_APART = ("args", "error_backtrace", "error_message")


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock of a unique job: who holds it (None: nobody), and for how many seconds more."""

    digest: str
    holder: str | None
    ttl: float | None
    is_own: bool


def _job(visit: Visit) -> HttpResponse:
    """
    Show the job that ``place`` and ``key`` name, or that has the id ``jid``, wherever it is.

    Without either it is asked for; an entry that has left its place is looked for elsewhere.
    """
    query = visit.query
    place, key, jid = (query.get(name, "") for name in ("place", "key", "jid"))
    if place and key:
        entry = _in_place(visit, place, key)
        if entry is not None:
            return _show(visit, place, entry)
        jid = jid or (key if place.startswith("queue:") else split_key(key)[1])
    if not jid:
        return visit.show("find_job.html", _("Find a job"))
    found = lookup.anywhere(jid, ahead=query.get("ahead", ""), cursor=number(query, "cursor"))
    if found.work is not None:
        return _show_work(visit, found.work)
    if found.entry is not None:
        return _show(visit, found.place, found.entry)
    return _nowhere(visit, jid, found)


def _in_place(visit: Visit, place: str, key: str) -> Entry | None:
    start, is_turned = number(visit.query, "start"), visit.query.get("order") == "newest"
    try:
        return lookup.in_place(place, [key], start=start, newest_first=is_turned).get(key)
    except SearchUnfinished:
        return None  # looked for everywhere then, with a link that goes on


def _nowhere(visit: Visit, jid: str, found: lookup.Sighting) -> HttpResponse:
    more = ""
    if found.ahead:
        more = visit.url("job", jid=jid, ahead=found.ahead, cursor=found.cursor or None)
    return visit.show(
        "find_job.html",
        _("Find a job"),
        jid=jid,
        sought=True,
        more=more,
        ahead=printable(found.ahead),
    )


def _show_work(visit: Visit, work: Work) -> HttpResponse:
    return _page(visit, work.job, work=work, process=printable(work.process))


def _show(visit: Visit, place: str, entry: Entry) -> HttpResponse:
    return _page(
        visit,
        entry,
        place=place,
        place_name=printable(entry.place),
        place_url=list_of(visit, place),
        hints={name: visit.query[name] for name in ("start", "order") if name in visit.query},
        key=key_of(entry),
        at=entry.at if isinstance(entry, SortedEntry) else entry.enqueued_at,
        offers=offers(visit, place) if key_of(entry) else [],
        held_from=entry.held_from if isinstance(entry, HeldEntry) else None,
    )


def _page(visit: Visit, job: JobRecord, **context: Any) -> HttpResponse:
    may_see = visit.may(Permission.VIEW_ARGUMENTS)
    fields = redaction.redact_fields(job)
    attempt, attempts = attempts_of(job)
    apart = _APART if may_see else (*_APART, *_ARGUMENTS)
    rest = {name: value for name, value in fields.items() if name not in apart}
    return visit.show(
        "job.html",
        printable(job.display_class) or _("Not a job"),
        job=job,
        jid=printable(job.jid),
        job_class=printable(job.job_class),
        queue=printable(job.queue),
        tags=[printable(tag) for tag in job.tags[:20]],
        times=_times(job),
        attempt=attempt,
        attempts=attempts,
        has_failed=job.retry_count is not None or bool(job.error_class),
        error_class=printable(job.error_class),
        message=fields.get("error_message", "")[:LONGEST],
        traceback="\n".join(map(str, fields.get("error_backtrace", ())))[:LONGEST],
        like_this=_like_this(visit, job, context.get("place", "")),
        args=_pretty(fields.get("args", [])) if may_see else None,
        raw=redaction.redact_raw(job.raw)[:LONGEST] if may_see and not job.is_valid else "",
        size=len(job.raw),
        fields=_pretty(rest) if rest else "",
        lock=_lock(job),
        link=redaction.admin_url_of(job),
        **context,
    )


def _times(job: JobRecord) -> list[tuple[str, datetime]]:
    """Return what happened when, as far as it is known."""
    times = (
        (_("Created"), job.created_at),
        (_("Enqueued"), job.enqueued_at),
        (_("First failed"), job.failed_at),
        (_("Last failed"), job.retried_at),
        (_("Held since"), job.held_at),
    )
    return [(label, at) for label, at in times if at is not None]


def _lock(job: JobRecord) -> LockState | None:
    digest = job.unique_digest
    if digest is None:
        return None
    try:
        lock = LockSet().get(digest)
    except InvalidQuery:
        lock = None
    if lock is None:
        return LockState(digest, None, None, is_own=False)
    return LockState(digest, printable(lock.jid), lock.ttl, is_own=lock.jid == job.jid)


def _like_this(visit: Visit, job: JobRecord, place: str) -> str:
    """Return the link to the jobs of its set that have its error; empty where there is none."""
    routes = {"retry": "retries", "dead": "dead"}
    if place not in routes or not job.error_class:
        return ""
    job_class, error_class, frame, _message = error_group(job)
    meant = Filter(job_class=job_class, error_class=error_class, frame=frame)
    return visit.url(routes[place], **meant.as_dict())


def _pretty(value: Any) -> str:
    """Return JSON for people; of what is too long, the beginning."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=repr)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n..."


routes: list[Route] = [Page("job/", "job", _job)]
