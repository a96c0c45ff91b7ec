"""The reconcilers: which job each heals, how its runs went, and which jobs nobody heals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.options import to_seconds
from django_jobqueue.job.registry import registry
from django_jobqueue.models import ReconcilerRun, ReconcilerState, Schedule
from django_jobqueue.reconciliation.pairs import all_reconcilers, target_of, timetable_of
from django_jobqueue.reconciliation.problems import find_problems
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.reports.moments import aware, now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.reports.schedules import RECONCILER, ScheduleFacts, facts_of
from django_jobqueue.scheduling import slots
from django_jobqueue.switches import flags
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.timetable import Timetable

#: Runs that are told of each reconciler, in the list and of one alone.
RUNS = 30
MORE_RUNS = 50

#: Periods without a success after which one is overdue; and seconds that each may be late.
PATIENCE = 3
LATE = 60.0

#: Characters of an error where only its end is told.
ERROR = 300


@dataclass(frozen=True, slots=True)
class RunFacts(Plain):
    """
    One run in which something happened; ``seconds`` is how long it took.

    ``status`` as ``RunStatus``. Of the rows ``found``, ``pushed`` were enqueued, ``duplicates`` had
    a job on its way, ``cooling`` were left alone because theirs died, ``errors`` had an error.
    """

    at: datetime
    seconds: float
    status: str
    exact: bool
    jid: str
    pages: int
    found: int
    pushed: int
    duplicates: int
    cooling: int
    errors: int
    error: str


@dataclass(frozen=True, slots=True)
class ReconcilerFacts(Plain):
    """
    One reconciler: ``name`` is what Redis knows it by, ``path`` its dotted path.

    ``job`` is the dotted path of the class that it heals, empty where it names none, and ``queue``
    where its jobs go. ``schedule`` is None where the settings do not list it: it never runs
    by itself. ``status`` is that of its last run, empty before the first; ``found``, ``pushed``,
    ``oldest_pending`` (seconds) and ``error`` (the end of it) are of the last that looked at
    rows. ``skips`` in a row were for back-pressure. ``behind`` is whether a row has waited longer
    than the ``objective`` (seconds), ``overdue`` whether it has not succeeded for three periods.
    ``stopped_by`` names the kill switches that are on for everyone, its own or its job's. ``runs``
    are the latest first; those in which nothing happened are not kept.
    """

    name: str
    path: str
    job: str
    queue: str
    schedule: ScheduleFacts | None
    status: str
    started_at: datetime | None
    finished_at: datetime | None
    succeeded_at: datetime | None
    found: int
    pushed: int
    skips: int
    oldest_pending: float | None
    objective: float | None
    behind: bool
    overdue: bool
    stopped_by: tuple[str, ...]
    error: str
    runs: tuple[RunFacts, ...]


@dataclass(frozen=True, slots=True)
class Reconcilers(Plain):
    """
    All reconcilers that are known here, by name.

    ``unpaired`` are the jobs that nobody heals and that do not say that this is meant,
    ``exempt`` those that say ``self_healing = False``; both by their dotted paths.
    """

    at: datetime
    reconcilers: tuple[ReconcilerFacts, ...]
    unpaired: tuple[str, ...]
    exempt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProblemFacts(Plain):
    """What a system check says of it: ``id``, the fact, and the way out."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class OneReconciler(Plain):
    """One reconciler with more runs, its options as they are set, and all of its last error."""

    at: datetime
    facts: ReconcilerFacts
    options: dict[str, Any]
    trace: str
    problems: tuple[ProblemFacts, ...]


def reconcilers() -> Reconcilers:
    """Return all reconcilers. Redis is not asked."""
    classes = all_reconcilers()
    known = _Known(classes)
    jobs = [cls for cls in registry().classes() if not issubclass(cls, Reconciler)]
    healed = {target_of(cls) for cls in classes}
    return Reconcilers(
        at=now(),
        reconcilers=tuple(known.facts(cls, RUNS) for cls in classes),
        unpaired=tuple(_path(job) for job in jobs if job.self_healing and job not in healed),
        exempt=tuple(_path(job) for job in jobs if not job.self_healing and job not in healed),
    )


def reconciler(name: str) -> OneReconciler | None:
    """Return one reconciler by its name in Redis; None where there is none."""
    cls = find(name)
    if cls is None:
        return None
    known = _Known([cls])
    state = known.states.get(name)
    return OneReconciler(
        at=now(),
        facts=known.facts(cls, MORE_RUNS),
        options=_options(cls),
        trace="" if state is None else state.error,
        problems=tuple(_problems(cls)),
    )


def find(name: str) -> type[Reconciler] | None:
    """Return the reconciler with this name in Redis, or None."""
    return next((cls for cls in all_reconcilers() if wire_name(cls) == name), None)


class _Known:
    """What the database says of some reconcilers, in a query for each table."""

    def __init__(self, classes: list[type[Reconciler]]) -> None:
        names = [wire_name(cls) for cls in classes]
        self.states: Mapping[str, ReconcilerState] = {
            state.name: state for state in ReconcilerState.objects.filter(name__in=names)
        }
        self._timetables = {cls: timetable_of(cls) for cls in classes}
        self._rows = slots.rows(entry.name for entry in self._timetables.values() if entry)
        states = flags.read_states() if flags.is_installed() else {}
        self._on = {flag for flag, state in states.items() if state.is_on}

    def facts(self, cls: type[Reconciler], runs: int) -> ReconcilerFacts:
        name, job = wire_name(cls), target_of(cls)
        state = self.states.get(name) or ReconcilerState(name=name)
        timetable = self._timetables[cls]
        row = None if timetable is None else self._rows.get(timetable.name)
        objective = None if cls.heal_within is None else to_seconds(cls.heal_within)
        oldest = state.oldest_pending
        return ReconcilerFacts(
            name=name,
            path=_path(cls),
            job="" if job is None else _path(job),
            queue=cls.job_queue or ("" if job is None else job.queue),
            schedule=None if timetable is None else facts_of(RECONCILER, timetable, row),
            status=state.status,
            started_at=_maybe(state.started_at),
            finished_at=_maybe(state.finished_at),
            succeeded_at=_maybe(state.succeeded_at),
            found=state.found,
            pushed=state.pushed,
            skips=state.skips,
            oldest_pending=oldest,
            objective=objective,
            behind=objective is not None and oldest is not None and oldest > objective,
            overdue=_is_overdue(timetable, row, state),
            stopped_by=tuple(flag for flag in _flags_of(cls, job) if flag in self._on),
            error=state.error.rstrip().rpartition("\n")[2][-ERROR:],
            runs=tuple(map(_run_facts, _latest_runs(name, runs))),
        )


def _is_overdue(timetable: Timetable | None, row: Schedule | None, state: ReconcilerState) -> bool:
    if timetable is None or row is None or row.paused:
        return False
    if state.succeeded_at is None:
        # It may have had no turn yet, or has its first one now.
        return state.status not in ("", RunStatus.RUNNING)
    age = clock.now() - aware(state.succeeded_at).timestamp()
    return age > PATIENCE * timetable.period + LATE


def _latest_runs(name: str, count: int) -> list[ReconcilerRun]:
    return list(ReconcilerRun.objects.filter(name=name).order_by("-started_at")[:count])


def _run_facts(run: ReconcilerRun) -> RunFacts:
    return RunFacts(
        at=aware(run.started_at),
        seconds=(run.finished_at - run.started_at).total_seconds(),
        status=run.status,
        exact=run.exact,
        jid=run.jid,
        pages=run.pages,
        found=run.found,
        pushed=run.pushed,
        duplicates=run.duplicates,
        cooling=run.cooling,
        errors=run.errors,
        error=run.error.rstrip().rpartition("\n")[2][-ERROR:],
    )


def _flags_of(cls: type[Reconciler], job: type[Job] | None) -> tuple[str, ...]:
    return (*flag_names(cls), *(() if job is None else flag_names(job)))


#: The options that change what a run does.
_OPTIONS = (
    "batch_size", "jitter", "grace", "age_field", "heal_within", "max_per_run",
    "max_queue_latency", "max_errors", "using",
)  # fmt: skip


def _options(cls: type[Reconciler]) -> dict[str, Any]:
    """Return the options by name; durations in seconds."""
    values = {name: getattr(cls, name) for name in _OPTIONS}
    return {
        name: value.total_seconds() if hasattr(value, "total_seconds") else value
        for name, value in values.items()
    }


def _problems(cls: type[Reconciler]) -> Iterator[ProblemFacts]:
    job = target_of(cls)
    for found in find_problems(get_settings().reconcilers):
        if found.cls in (cls, job):
            yield ProblemFacts(found.id, found.message, found.hint)


def _maybe(at: datetime | None) -> datetime | None:
    return None if at is None else aware(at)


def _path(cls: type[Job]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
