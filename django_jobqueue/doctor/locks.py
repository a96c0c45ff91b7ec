"""The locks of unique jobs: whether those who hold them are still there."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue.api import Lock, LockSet
from django_jobqueue.doctor.finding import Finding, fault, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import length, names

#: Locks whose holders are looked for.
LOOKED_AT = 500


def check_locks(patient: Patient) -> Iterator[Finding]:
    """Tell of locks that keep jobs out and whose own job is nowhere."""
    locks = LockSet(store=patient.store)
    page = locks.page(count=LOOKED_AT, budget=patient.time_left / 2)
    if page.locks:
        holders = locks.holders(page.locks, budget=patient.time_left)
        patient.is_cut_short |= not holders.complete
        lost = [lock for lock in page.locks if holders.lacks(lock)]
        yield from _endless([lock for lock in lost if lock.ttl is None])
        yield from _ending([lock for lock in lost if lock.ttl is not None])
    patient.is_cut_short |= page.cursor is not None


def _endless(lost: list[Lock]) -> Iterator[Finding]:
    if lost:
        yield fault(
            "endless-lock",
            ngettext(
                "%(count)s lock has no end, and the job that holds it is nowhere: %(locks)s. No "
                "job with these arguments is accepted any more.",
                "%(count)s locks have no end, and the jobs that hold them are nowhere: %(locks)s. "
                "No jobs with these arguments are accepted any more.", len(lost),
            ) % {"count": f"{len(lost):,}", "locks": names([lock.digest for lock in lost])},
            _("Release such a lock on the page of the locks, or with manage.py jobqueue locks "
              "--release DIGEST."),
        )  # fmt: skip


def _ending(lost: list[Lock]) -> Iterator[Finding]:
    if lost:
        longest = max(lock.ttl or 0.0 for lock in lost)
        yield warning(
            "lost-lock",
            ngettext(
                "%(count)s lock is held by a job that is nowhere: %(locks)s. It keeps its like out "
                "for %(length)s more.",
                "%(count)s locks are held by jobs that are nowhere: %(locks)s. They keep their "
                "like out for up to %(length)s more.", len(lost),
            ) % {
                "count": f"{len(lost):,}", "locks": names([lock.digest for lock in lost]),
                "length": length(longest),
            },
            _("Such a lock ends by itself. Who cannot wait releases it on the page of the locks."),
        )  # fmt: skip
