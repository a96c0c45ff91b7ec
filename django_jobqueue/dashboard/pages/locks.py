"""The locks of unique jobs: who holds them, for how long, and those whose holder is nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpResponse
from django.utils.translation import gettext as _

from django_jobqueue.api import Lock, LockSet
from django_jobqueue.dashboard.asked import number
from django_jobqueue.dashboard.routes import Act, Done, Page, Route
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission

#: Locks of a page.
PAGE = 50


@dataclass(frozen=True, slots=True)
class Row:
    """
    A lock as it is shown.

    ``place`` is where its holder is; where that is empty, ``is_lost`` tells whether it is nowhere
    (True) or just was not met in time.
    """

    lock: Lock
    url: str
    jid: str
    place: str
    is_lost: bool


def _locks(visit: Visit) -> HttpResponse:
    """Show some locks, or the one that is asked for by its digest."""
    known = LockSet()
    digest = visit.query.get("digest", "").strip()
    more, looked_at, is_first = "", 0, True
    if digest:
        found = known.get(digest)
        locks = [] if found is None else [found]
    else:
        cursor = number(visit.query, "cursor")
        page = known.page(cursor, PAGE)
        locks, looked_at, is_first = page.locks, page.looked_at, cursor == 0
        more = "" if page.cursor is None else visit.url("locks", cursor=page.cursor)
    rows = _rows(visit, known, locks)
    return visit.show(
        "locks.html",
        _("Locks"),
        rows=rows,
        digest=digest,
        more=more,
        is_first=is_first,
        looked_at=looked_at,
        lost=sum(row.is_lost for row in rows),
    )


def _rows(visit: Visit, known: LockSet, locks: Sequence[Lock]) -> list[Row]:
    holders = known.holders(locks)
    rows = [
        Row(
            lock,
            visit.url("job", jid=lock.jid),
            printable(lock.jid),
            printable(holders.found.get(lock.jid, "")),
            holders.lacks(lock),
        )
        for lock in locks
        if lock.jid not in holders.gone
    ]
    return sorted(rows, key=lambda row: not row.is_lost)


def _release(visit: Visit) -> Done:
    """Release a lock, if the job that the page showed still holds it."""
    digest, jid = visit.form.get("digest", ""), visit.form.get("jid", "")
    lock = LockSet().get(digest)
    if lock is None or lock.jid != jid or not lock.release():
        raise Refused(_("Nothing was done: the job %(jid)s holds this lock no more.") % {
            "jid": printable(jid),
        })  # fmt: skip
    return Done(_("Released: the next job with these arguments is accepted."), f"{digest} of {jid}")


routes: list[Route] = [
    Page("locks/", "locks", _locks),
    Act("locks/release/", "locks_release", _release, Permission.DELETE_JOB),
]
