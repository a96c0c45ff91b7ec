"""Reconcilers and schedules: what heals what, how it went, when it runs next, and run it now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobqueue import clock
from django_jobqueue.api import Stats
from django_jobqueue.client.results import EnqueueResult, Status
from django_jobqueue.dashboard.routes import Act, Done, Page, Route
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import StoreError, UnknownTimetable
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reconciliation.drift import drift
from django_jobqueue.reconciliation.forecast import forecast
from django_jobqueue.reconciliation.pairs import timetable_of
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.reports import reconcilers as reports
from django_jobqueue.reports.reconcilers import ReconcilerFacts, RunFacts
from django_jobqueue.reports.schedules import PERIODIC, schedules
from django_jobqueue.scheduling import firing, slots
from django_jobqueue.timetable import Timetable

logger = logging.getLogger("django_jobqueue.dashboard")

#: Rows and jobs that a look goes through while a browser waits; the commands have no limit.
ROWS = 10_000
JOBS = 100_000

#: Reconcilers and schedules of a page, and jobs that are named below them.
PAGE = 100
NAMED = 200

#: Where the session keeps what the last look has found, and characters of its error.
_LOOK = "jobqueue_look"
_ERROR = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """A reconciler as it is shown; ``strip`` are its runs, the oldest first."""

    facts: ReconcilerFacts
    label: str
    job: str
    status: str
    css: str
    strip: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One run in a strip."""

    css: str
    told: str


#: How each status is called, and what its badge looks like.
_STATUS: Mapping[str, tuple[Promise, str]] = {
    "": (gettext_lazy("never ran"), ""),
    RunStatus.RUNNING: (gettext_lazy("running"), ""),
    RunStatus.DONE: (gettext_lazy("done"), "ok"),
    RunStatus.LIMITED: (gettext_lazy("done, up to its limit"), "ok"),
    RunStatus.INTERRUPTED: (gettext_lazy("interrupted"), "warn"),
    RunStatus.PARTIAL: (gettext_lazy("partial: Redis lost its data"), "warn"),
    RunStatus.FAILED: (gettext_lazy("failed"), "bad"),
    RunStatus.DISABLED: (gettext_lazy("skipped: kill switch"), "warn"),
    RunStatus.BACKPRESSURE: (gettext_lazy("skipped: queue is late"), "warn"),
}


# Looking ---------------------------------------------------------------------------


def _list(visit: Visit) -> HttpResponse:
    found = reports.reconcilers()
    listed = schedules().schedules
    return visit.show(
        "reconcilers.html",
        _("Reconcilers"),
        rows=[_row(facts) for facts in found.reconcilers[:PAGE]],
        more=max(0, len(found.reconcilers) - PAGE),
        periodic=[each for each in listed if each.kind == PERIODIC][:PAGE],
        unpaired=found.unpaired[:NAMED],
        more_unpaired=max(0, len(found.unpaired) - NAMED),
        exempt=found.exempt[:NAMED],
    )


def _one(visit: Visit) -> HttpResponse:
    name = visit.query.get("reconciler", "")
    found = reports.reconciler(name)
    if found is None:
        told = _("There is no reconciler “%s”.") % printable(name)
        return visit.show("error.html", _("Not found"), status=404, told=told)
    row = _row(found.facts)
    return visit.show(
        "reconciler.html",
        row.label,
        row=row,
        found=found,
        look=_look_of(visit, name),
        runs=[(run, *_STATUS.get(run.status, (run.status, ""))) for run in found.facts.runs],
    )


def _row(facts: ReconcilerFacts) -> Row:
    status, css = _STATUS.get(facts.status, (facts.status, ""))
    return Row(
        facts=facts,
        label=_short(facts.path),
        job=_short(facts.job),
        status=str(status),
        css=css,
        strip=tuple(map(_block, reversed(facts.runs))),
    )


def _block(run: RunFacts) -> Block:
    status, css = _STATUS.get(run.status, (run.status, ""))
    if css == "ok" and run.errors:
        css = "warn"
    told = _("%(at)s UTC: %(status)s; %(found)d found, %(pushed)d enqueued, %(errors)d errors") % {
        "at": f"{run.at:%Y-%m-%d %H:%M:%S}",
        "status": status,
        "found": run.found,
        "pushed": run.pushed,
        "errors": run.errors,
    }
    return Block(css, told)


def _short(path: str) -> str:
    return path.rpartition(".")[2]


# Running ---------------------------------------------------------------------------


def _run(visit: Visit) -> Done:
    """Enqueue a reconciler's run, whether the settings list it or not."""
    cls = _reconciler(visit)
    timetable = timetable_of(cls)
    if timetable is not None:
        return _enqueued(cls.__qualname__, lambda: firing.enqueue_now(timetable))
    return _enqueued(cls.__qualname__, cls.set(on_commit=False).enqueue)


def _fire(visit: Visit) -> Done:
    """Enqueue the job of a timetable."""
    timetable = _timetable(visit)
    return _enqueued(timetable.name, lambda: firing.enqueue_now(timetable))


def _enqueued(name: str, enqueue: Callable[[], EnqueueResult]) -> Done:
    try:
        result = enqueue()
    except StoreError:
        raise
    except Exception as error:  # an import, or a middleware of the project's
        logger.exception("%s cannot be run", printable(name))
        raise Refused(
            _("%(name)s cannot be run: %(error)s")
            % {"name": printable(name), "error": printable(f"{type(error).__name__}: {error}")}
        ) from error
    if not result:
        raise Refused(_why_not(result.status) % {"name": printable(name)})
    told = _("A run of %(name)s is enqueued, with the id %(jid)s.")
    return Done(told % {"name": printable(name), "jid": result.jid}, name)


def _why_not(status: Status) -> str:
    if status is Status.DISABLED:
        return _("%(name)s was not enqueued: its kill switch is on.")
    if status is Status.DUPLICATE:
        return _("%(name)s was not enqueued: a run of it is on its way already.")
    return _("%(name)s was not enqueued: a client middleware refused it.")


def _pause(visit: Visit) -> Done:
    timetable = _timetable(visit)
    if not slots.pause(timetable.name):
        raise Refused(_("The schedule %s was paused already.") % timetable.name)
    told = (
        _("The schedule %s is paused: times that pass meanwhile are not made up for.")
        % timetable.name
    )
    return Done(told, timetable.name, level=messages.WARNING)


def _resume(visit: Visit) -> Done:
    timetable = _timetable(visit)
    if not slots.resume(timetable.name):
        raise Refused(_("The schedule %s was not paused.") % timetable.name)
    return Done(_("The schedule %s goes on with its next time.") % timetable.name, timetable.name)


# Finding out -------------------------------------------------------------------------


def _dry_run(visit: Visit) -> Done:
    cls = _reconciler(visit)
    is_unique = cls().plan().job.unique_for is not None

    def look(plan: Plan) -> Mapping[str, Any]:
        return forecast(plan, timetable_of(cls), limit=ROWS).as_dict()

    return _look(visit, cls, "dry_run", look, reads_redis=not is_unique)


def _drift(visit: Visit) -> Done:
    cls = _reconciler(visit)

    def look(plan: Plan) -> Mapping[str, Any]:
        return drift(plan, limit=ROWS).as_dict()

    return _look(visit, cls, "drift", look, reads_redis=True)


def _look(
    visit: Visit,
    cls: type[Reconciler],
    kind: str,
    look: Callable[[Plan], Mapping[str, Any]],
    *,
    reads_redis: bool,
) -> Done:
    """
    Look at rows and jobs, and keep what was found in the session until the next look.

    It is an act, though it changes nothing: it costs so much that no link and no
    reload shall repeat it.
    """
    if reads_redis and _standing() > JOBS:
        command = "reconcile --dry-run" if kind == "dry_run" else "drift"
        raise Refused(
            _("So many jobs stand in Redis that a page cannot look through them: run "
              "“manage.py jobqueue %(command)s %(name)s”.")
            % {"command": command, "name": cls.__qualname__}
        )  # fmt: skip
    try:
        found = dict(look(cls().plan()))
    except StoreError:
        raise
    except Exception as error:  # whatever the user's query and args_for() raise
        logger.exception("%s cannot look", printable(cls.__qualname__))
        raise Refused(
            _("%(name)s could not look at its rows: %(error)s")
            % {"name": cls.__qualname__, "error": printable(f"{type(error).__name__}: {error}")}
        ) from error
    # Some projects keep the session in a cookie.
    found["error"] = str(found.get("error", ""))[-_ERROR:]
    visit.request.session[_LOOK] = {"kind": kind, "at": clock.now(), **found}
    return Done(_("Looked, and changed nothing."), found["name"], count=0)


def _look_of(visit: Visit, name: str) -> Mapping[str, Any] | None:
    """Return what the last look found, if it was at this reconciler."""
    look = visit.request.session.get(_LOOK)
    return look if isinstance(look, dict) and look.get("name") == name else None


def _standing() -> int:
    """Return how many jobs there are in Redis that a look would have to read."""
    stats = Stats()
    return stats.enqueued + stats.scheduled + stats.retries + stats.held + stats.busy


def _reconciler(visit: Visit) -> type[Reconciler]:
    """Return the reconciler that a form names. Raises: Refused."""
    name = visit.form.get("reconciler", "")
    cls = reports.find(name)
    if cls is None:
        raise Refused(_("There is no reconciler “%s”.") % printable(name[:200]))
    return cls


def _timetable(visit: Visit) -> Timetable:
    """Return the timetable that a form names. Raises: Refused."""
    try:
        return firing.find_timetable(visit.form.get("schedule", ""))
    except UnknownTimetable as error:
        raise Refused(printable(str(error))) from error


_MAY = Permission.RUN_RECONCILER

routes: list[Route] = [
    Page("reconcilers/", "reconcilers", _list),
    Page("reconcilers/one/", "reconcilers_one", _one),
    Act("reconcilers/run/", "reconcilers_run", _run, _MAY),
    Act("reconcilers/dry-run/", "reconcilers_dry_run", _dry_run, _MAY),
    Act("reconcilers/drift/", "reconcilers_drift", _drift, _MAY),
    Act("schedules/fire/", "reconcilers_fire", _fire, _MAY),
    Act("schedules/pause/", "reconcilers_pause", _pause, _MAY),
    Act("schedules/resume/", "reconcilers_resume", _resume, _MAY),
]
