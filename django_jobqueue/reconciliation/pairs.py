"""Which reconciler heals which job, by the settings and by what is imported."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import UnknownReconciler
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.timetable import Timetable

logger = logging.getLogger("django_jobqueue.reconciler")


@dataclass(frozen=True, slots=True)
class Pair:
    """A reconciler that the settings list, and when it runs."""

    reconciler: type[Reconciler]
    timetable: Timetable


@cache
def pairs() -> tuple[Pair, ...]:
    """
    Return the reconcilers of ``JOBQUEUE["RECONCILERS"]``, in that order.

    One that cannot be imported is left out and logged: the system checks tell of it.
    """
    found = []
    for timetable in get_settings().reconcilers:
        try:
            cls = import_string(timetable.job)
        except ImportError as error:
            logger.error("JOBQUEUE['RECONCILERS']: %s", error)
            continue
        if isinstance(cls, type) and issubclass(cls, Reconciler):
            found.append(Pair(cls, timetable))
    return tuple(found)


def timetable_of(cls: type[Reconciler]) -> Timetable | None:
    """Return when a reconciler runs; None where the settings do not list it."""
    return next((pair.timetable for pair in pairs() if pair.reconciler is cls), None)


def reconcilers_of(job: str) -> tuple[type[Reconciler], ...]:
    """Return the listed reconcilers of the job with this wire name."""
    return _by_job().get(job, ())


def cooldown_of(job: str) -> float:
    """
    Return for how many seconds a row is left alone at first when its job has died.

    The period of its reconciler, for what every tick brings back dies at every
    tick; 0 for a job that has none. Doubled with each death by those who ask.
    """
    return _cooldowns().get(job, 0.0)


def all_reconcilers() -> list[type[Reconciler]]:
    """Return every reconciler that is imported, listed or not, by name."""
    return [cls for cls in registry().classes() if issubclass(cls, Reconciler)]


def find(names: Sequence[str] = ()) -> list[type[Reconciler]]:
    """
    Return the reconcilers of these names, each a class name or a dotted path; all without names.

    Raises: UnknownReconciler, which may guess what was meant.
    """
    known = all_reconcilers()
    if not names:
        return known
    found: dict[type[Reconciler], None] = {}
    for name in names:
        matching = [cls for cls in known if name in (wire_name(cls), _path(cls), cls.__qualname__)]
        if not matching:
            raise UnknownReconciler(name, [wire_name(cls) for cls in known])
        found |= dict.fromkeys(matching)
    return list(found)


def target_of(cls: type[Reconciler]) -> type[Job] | None:
    """Return the class that a reconciler heals; None where it names none that can run."""
    job = getattr(cls, "job", None)
    return job if isinstance(job, type) and issubclass(job, Job) and not job.abstract else None


@cache
def _by_job() -> dict[str, tuple[type[Reconciler], ...]]:
    found: dict[str, tuple[type[Reconciler], ...]] = {}
    for pair in pairs():
        job = target_of(pair.reconciler)
        if job is not None:
            name = wire_name(job)
            found[name] = (*found.get(name, ()), pair.reconciler)
    return found


@cache
def _cooldowns() -> dict[str, float]:
    """Return the shortest period of the reconcilers of each job, by its wire name."""
    found: dict[str, float] = {}
    for pair in pairs():
        job = target_of(pair.reconciler)
        if job is not None:
            period = pair.timetable.period
            found[wire_name(job)] = min(period, found.get(wire_name(job), period))
    return found


def _path(cls: type[Reconciler]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "JOBQUEUE":
        for cached in (pairs, _by_job, _cooldowns):
            cached.cache_clear()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.pairs")
