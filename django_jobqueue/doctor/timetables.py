"""What runs by the clock: whether reconcilers heal in time, and whether slots are claimed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue import clock
from django_jobqueue.doctor.finding import Finding, fault, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import epoch, length, names
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.options import to_seconds
from django_jobqueue.models import ReconcilerState, Schedule
from django_jobqueue.payload import printable
from django_jobqueue.reconciliation.pairs import Pair, pairs
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.scheduling import firing, slots
from django_jobqueue.timetable import Timetable

#: Seconds that a slot may stay unclaimed, or claimed and not pushed: tickers look every 15 s or so.
PATIENCE = 120.0

#: Periods without a success after which a reconciler is behind.
PERIODS = 3

#: Characters told of the last line of an error.
_ERROR = 200


def check_schedules(patient: Patient) -> Iterator[Finding]:
    """Tell of timetables that nobody serves, or that somebody paused."""
    rows, now = slots.rows(firing.timetables()), clock.now()
    late, unpushed, paused = [], [], []
    for name, timetable in firing.timetables().items():
        row = rows.get(name)
        if row is None:
            continue  # no worker has seen it yet
        if row.paused:
            paused.append(name)
        elif _is_missed(timetable, row, now):
            late.append(name)
        elif row.pushed_tick < row.last_tick < now - PATIENCE:
            unpushed.append(name)
    if late:
        yield fault(
            "schedule-behind",
            _("Nobody serves these timetables, though they were due: %(names)s.")
            % {"names": names(late)},
            _("A worker with the same settings has to run. Look at its log for a class that "
              "cannot be imported, or a database that does not answer."),
        )  # fmt: skip
    if unpushed:
        yield fault(
            "schedule-unpushed",
            _("The jobs of these timetables are due and do not get into Redis: %(names)s.")
            % {"names": names(unpushed)},
            _("Look at the log of the workers for why Redis or a client middleware refuses them."),
        )
    if paused:
        yield warning(
            "schedule-paused",
            _("Paused: %(names)s.") % {"names": names(paused)},
            _("Resume what nobody wants to be paused: manage.py jobqueue periodic resume NAME."),
        )


def check_reconcilers(patient: Patient) -> Iterator[Finding]:
    """Tell of reconcilers that fail, are late, or find rows that wait for too long."""
    states = {state.name: state for state in ReconcilerState.objects.all()}
    paused = set(Schedule.objects.filter(paused=True).values_list("name", flat=True))
    never = []
    for pair in pairs():
        name = wire_name(pair.reconciler)
        state = states.get(name)
        if pair.timetable.name in paused or (state and state.status == RunStatus.DISABLED):
            continue  # somebody wants it so; told as a pause or a kill switch
        if state is not None and state.status == RunStatus.FAILED:
            yield _failed(name, state)
        elif state is None or state.succeeded_at is None:
            never.append(name)
        else:
            yield from _late(pair, name, state, state.succeeded_at)
    if never:
        yield warning(
            "reconciler-never",
            _("Never ran to its end yet: %(names)s.") % {"names": names(never)},
            _("Let it run once: manage.py jobqueue reconcile NAME. If its time has come already, a "
              "worker has to work its queue, which is “reconcilers” unless it says otherwise."),
        )  # fmt: skip


def _is_missed(timetable: Timetable, row: Schedule, now: float) -> bool:
    slot = timetable.latest(now - PATIENCE)
    return slot is not None and slot > row.last_tick


def _failed(name: str, state: ReconcilerState) -> Finding:
    lines = state.error.strip().splitlines() or ["?"]
    return fault(
        "reconciler-failed",
        _("The last run of %(name)s failed: %(error)s")
        % {"name": printable(name), "error": printable(lines[-1])[:_ERROR]},
        _("Its page has the traceback. Mend it, and run it: manage.py jobqueue reconcile NAME."),
    )


def _late(
    pair: Pair, name: str, state: ReconcilerState, succeeded_at: datetime
) -> Iterator[Finding]:
    ago = clock.now() - epoch(succeeded_at)
    told = {"name": printable(name), "length": length(ago)}
    if ago > max(PERIODS * pair.timetable.period, PATIENCE):
        if state.status == RunStatus.BACKPRESSURE:
            yield warning(
                "reconciler-waits",
                ngettext(
                    "%(name)s adds nothing, for the jobs that wait already are late: skipped "
                    "%(count)d time, last success %(length)s ago.",
                    "%(name)s adds nothing, for the jobs that wait already are late: skipped "
                    "%(count)d times in a row, last success %(length)s ago.", state.skips,
                ) % {**told, "count": state.skips},
                _("Give the queue of its jobs more workers."),
            )  # fmt: skip
        else:
            yield fault(
                "reconciler-behind",
                _("%(name)s should run every %(period)s and did so last %(length)s ago.")
                % {**told, "period": length(pair.timetable.period)},
                _("Let a worker work its queue, and see whether one run takes longer than its "
                  "period: then lower max_per_run or give it more time."),
            )  # fmt: skip
    objective = pair.reconciler.heal_within
    if objective is None or state.oldest_pending is None:
        return
    if state.oldest_pending > to_seconds(objective):
        yield fault(
            "reconciler-objective",
            _("%(name)s found a row that has waited for %(oldest)s; heal_within is %(objective)s.")
            % {
                **told,
                "oldest": length(state.oldest_pending),
                "objective": length(to_seconds(objective)),
            },
            _("See what its jobs wait for: their queue, retries, a kill switch, or a row whose "
              "job dies every time (manage.py jobqueue drift NAME)."),
        )  # fmt: skip
