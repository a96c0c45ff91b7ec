"""The worker processes and what they run; let one or all take no more jobs, stop, or tell more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue import redaction
from django_jobqueue.api import Process, ProcessSet, Work, WorkSet
from django_jobqueue.conf import get_settings
from django_jobqueue.dashboard.asked import number
from django_jobqueue.dashboard.charts import Meter, meter
from django_jobqueue.dashboard.routes import Act, BrokeOff, Done, Page, Route
from django_jobqueue.dashboard.rows import ARGS, name_of
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import StoreError
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission

#: Processes, and jobs that run, of a page.
PAGE = 100

#: Queues of a process that are shown.
_QUEUES = 20

#: What has to be typed to stop all processes.
STOP = "stop"


@dataclass(frozen=True, slots=True)
class Worker:
    """A process as it is shown, every text of it printable."""

    process: Process
    name: str
    about: str
    version: str
    queues: str
    busy: Meter
    is_leader: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A job that runs, as it is shown; ``args`` is None for who may not see them."""

    url: str
    job_class: str
    jid: str
    queue: str
    process: str
    thread: str
    run_at: datetime | None
    elapsed: float
    args: str | None


# Looking ---------------------------------------------------------------------------


def _busy(visit: Visit) -> HttpResponse:
    known = ProcessSet()
    # By iter(): a list would ask for the length first, which is a trip to Redis.
    processes, leader = list(iter(known)), known.leader
    works = list(iter(WorkSet()))
    start = min(number(visit.query, "start"), max(len(processes), len(works)))
    alive = {process.identity for process in processes}
    silent = [(name, left) for name, left in known.leases().items() if name not in alive]
    busy, concurrency = (
        sum(process.busy for process in processes),
        sum(process.concurrency for process in processes),
    )
    return visit.show(
        "busy.html",
        _("Busy"),
        workers=[_worker(each, leader) for each in processes[start : start + PAGE]],
        running=[_running(visit, each) for each in works[start : start + PAGE]],
        processes=len(processes),
        works=len(works),
        busy=busy,
        concurrency=concurrency,
        utilisation=round(100 * min(busy, concurrency) / concurrency) if concurrency else 0,
        rss=sum(process.rss for process in processes),
        quiet=sum(process.is_quiet for process in processes),
        silent=[(printable(name), left) for name, left in silent[:PAGE]],
        takes_orders=get_settings().remote_signals,
        stop=STOP,
        before=visit.url("busy", start=max(0, start - PAGE) or None) if start else "",
        after=visit.url("busy", start=start + PAGE)
        if start + PAGE < max(len(processes), len(works))
        else "",
    )


def _worker(process: Process, leader: str | None) -> Worker:
    queues = list(process.queues_with_weights.items())
    told = [
        f"{printable(name)} ({weight})" if weight > 1 else printable(name)
        for name, weight in queues[:_QUEUES]
    ]
    if len(queues) > _QUEUES:
        told.append(_("%(count)d more") % {"count": len(queues) - _QUEUES})
    return Worker(
        process,
        printable(name_of(process)),
        printable(" ".join(filter(None, (process.tag, *process.labels)))),
        printable(process.version),
        ", ".join(told),
        meter(
            process.busy, process.concurrency, title=_("Busy"),
            css="warn" if process.utilisation >= 1 else "ok",
        ),
        process.identity == leader,
    )  # fmt: skip


def _running(visit: Visit, work: Work) -> Running:
    job = work.job
    shows_args = visit.may(Permission.VIEW_ARGUMENTS)
    return Running(
        visit.url("job", jid=job.jid) if job.jid else "",
        printable(job.display_class),
        printable(job.jid),
        printable(work.queue),
        printable(work.process.rpartition(":")[0] or work.process),
        printable(work.thread),
        work.run_at,
        work.elapsed,
        redaction.shown_args(job, limit=ARGS) if shows_args else None,
    )


# Steering --------------------------------------------------------------------------


def _one(tell: Callable[[Process], bool], told: Callable[[], str]) -> Callable[[Visit], Done]:
    """Return the act that tells one process something; ``told`` is the sentence about it."""

    def view(visit: Visit) -> Done:
        identity = visit.form.get("identity", "")
        process = ProcessSet().get(identity) if identity else None
        if process is None:
            raise Refused(
                _("Nothing was done: %(process)s gave no sign of life for a minute.")
                % {"process": printable(identity)}
            )
        if not tell(process):
            raise Refused(
                _("Nothing was done: %(process)s takes no orders, or has just gone.")
                % {"process": printable(identity)}
            )
        return Done(told() % {"process": printable(name_of(process))}, identity, level=_level())

    return view


def _all(tell: Callable[[Process], bool], told: Callable[[int], str]) -> Callable[[Visit], Done]:
    """Return the act that tells all processes something."""

    def view(visit: Visit) -> Done:
        count = 0

        def done() -> Done:
            return Done(told(count) % {"count": count}, _("all processes"), count, level=_level())

        try:
            for process in ProcessSet():
                count += tell(process)
        except StoreError as error:
            raise BrokeOff(done(), error) from error
        if not count:
            raise Refused(_("Nothing was done: there is no process that takes orders."))
        return done()

    return view


def _level() -> int:
    # Sent it is in any case; whether they obey is up to their settings, which may be others.
    return messages.SUCCESS if get_settings().remote_signals else messages.WARNING


def _stop_all(visit: Visit) -> Done:
    visit.require_typed(STOP)
    return _STOP_ALL(visit)


_STOP_ALL = _all(
    Process.stop,
    lambda count: ngettext(
        "%(count)d process stops within ten seconds and gives back what it cannot end.",
        "%(count)d processes stop within ten seconds and give back what they cannot end.",
        count,
    ),
)

_QUIET = _one(Process.quiet, lambda: _("%(process)s takes no new jobs, within ten seconds."))
_STOP = _one(
    Process.stop,
    lambda: _("%(process)s stops within ten seconds and gives back what it cannot end."),
)
_DUMP = _one(
    Process.dump_stacks,
    lambda: _("%(process)s writes the stacks of its threads to its log, within ten seconds."),
)
_QUIET_ALL = _all(
    Process.quiet,
    lambda count: ngettext(
        "%(count)d process takes no new jobs, within ten seconds.",
        "%(count)d processes take no new jobs, within ten seconds.",
        count,
    ),
)

routes: list[Route] = [
    Page("busy/", "busy", _busy),
    Act("busy/quiet/", "busy_quiet", _QUIET, Permission.STOP_PROCESS),
    Act("busy/stop/", "busy_stop", _STOP, Permission.STOP_PROCESS),
    Act("busy/dump/", "busy_dump", _DUMP, Permission.STOP_PROCESS),
    Act("busy/quiet-all/", "busy_quiet_all", _QUIET_ALL, Permission.STOP_PROCESS),
    Act("busy/stop-all/", "busy_stop_all", _stop_all, Permission.STOP_PROCESS),
]
