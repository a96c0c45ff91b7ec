"""Where runs are written down: how each reconciler stands, and where something happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.models import ReconcilerRun, ReconcilerState
from django_jobqueue.reconciliation.report import RunReport, RunStatus

#: Characters of an error that are kept.
ERROR_LIMIT = 10_000


def begin(name: str, started_at: float) -> ReconcilerState:
    """Note that a run begins, and return how the reconciler stood before."""
    state, _ = ReconcilerState.objects.get_or_create(name=name)
    _state_of(name).update(status=RunStatus.RUNNING, started_at=_date(started_at))
    return state


def advance(name: str, cursor: str) -> None:
    """Note how far a run has come."""
    _state_of(name).update(cursor=cursor)


def end(report: RunReport, *, skips: int = 0) -> None:
    """Write down how a run ended, and forget runs that are older than the settings say."""
    changes: dict[str, Any] = {
        "status": report.status,
        "started_at": _date(report.started_at),
        "finished_at": _date(report.finished_at),
        "skips": skips,
    }
    if not report.status.is_skip:
        changes |= {
            "cursor": report.cursor,
            "found": report.found,
            "pushed": report.pushed,
            "oldest_pending": report.oldest,
            "error": storable(report.error),
        }
    if report.status.is_success:
        changes["succeeded_at"] = _date(report.finished_at)
    if not _state_of(report.name).update(**changes):
        ReconcilerState.objects.update_or_create(name=report.name, defaults=changes)
    if report.is_eventful:
        _record(report)


def storable(text: str) -> str:
    """Return the end of a text as every database takes it: no NUL, no lone surrogates."""
    clean = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    return clean[-ERROR_LIMIT:]


def _record(report: RunReport) -> None:
    ReconcilerRun.objects.create(
        name=report.name,
        jid=report.jid,
        status=report.status,
        started_at=_date(report.started_at),
        finished_at=_date(report.finished_at),
        exact=report.exact,
        pages=report.pages,
        found=report.found,
        pushed=report.pushed,
        duplicates=report.duplicates,
        cooling=report.cooling,
        errors=report.errors,
        error=storable(report.error),
    )
    oldest = _date(clock.now() - get_settings().reconciler_runs_kept)
    ReconcilerRun.objects.filter(started_at__lt=oldest).delete()


def _state_of(name: str) -> Any:
    return ReconcilerState.objects.filter(name=name)


def _date(at: float) -> datetime:
    moment = datetime.fromtimestamp(at, UTC)
    return moment if settings.USE_TZ else timezone.make_naive(moment)
