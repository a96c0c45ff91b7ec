"""What is wrong with reconcilers and their jobs, as far as it shows without a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.utils.module_loading import import_string

from django_jobqueue.job.base import Job
from django_jobqueue.job.options import Arity, to_seconds
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import QUEUE_NAME
from django_jobqueue.reconciliation.pairs import target_of
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Finding:
    """The id of a system check, the fact, the way out, and the class it is about."""

    id: str
    message: str
    hint: str
    cls: type[Job]

    @property
    def is_error(self) -> bool:
        """Whether it cannot work, rather than should not be so."""
        return ".E" in self.id


def find_problems(timetables: Sequence[Timetable]) -> Iterator[Finding]:
    """Yield what is wrong with the classes that are known by now; the timetables of RECONCILERS."""
    listed = dict(_listed(timetables))
    reconcilers = [cls for cls in registry().classes() if issubclass(cls, Reconciler)]
    for cls in reconcilers:
        yield from _option_problems(cls)
        if target_of(cls) is None:
            yield _no_job(cls)
        else:
            yield from _pair_problems(cls, cls.job, listed.get(cls))
    yield from _rivals(cls for cls in reconcilers if target_of(cls))
    healed = {target_of(cls) for cls in reconcilers}
    for job in registry().classes():
        if job.self_healing and job not in healed and not issubclass(job, Reconciler):
            yield _unpaired(job)


def _listed(timetables: Sequence[Timetable]) -> Iterator[tuple[type[Reconciler], Timetable]]:
    for timetable in timetables:
        try:
            cls = import_string(timetable.job)
        except Exception:  # noqa: S112  whatever a module does; the check of the paths tells of it
            continue
        if isinstance(cls, type) and issubclass(cls, Reconciler):
            yield cls, timetable


def _pair_problems(
    cls: type[Reconciler], job: type[Job], timetable: Timetable | None
) -> Iterator[Finding]:
    name = _spell(cls)
    if _passes_the_key(cls, job) and not _takes_one(job):
        yield Finding(
            "django_jobqueue.E051",
            f"{name} passes the primary key, and {_spell(job)}.perform{job._arity.signature} does "
            "not take just one argument.",
            f"Write args_for() in {job.__qualname__}, or in the reconciler.",
            cls,
        )
    if timetable is None:
        yield Finding(
            "django_jobqueue.W055",
            f"{name} is not in JOBQUEUE['RECONCILERS'], so it never runs by itself.",
            f"Add {name!r}: {{'every': '1m'}}, or say abstract = True if others derive from it.",
            cls,
        )
    if job.unique_for is None:
        yield Finding(
            "django_jobqueue.W053",
            f"{name} enqueues {_spell(job)}, which is not unique: every run adds all jobs again.",
            f"Set {job.__qualname__}.unique_for.",
            cls,
        )
    elif _is_length(job.unique_for):
        yield from _lease_problems(cls, job, to_seconds(job.unique_for), timetable)


def _lease_problems(
    cls: type[Reconciler], job: type[Job], lease: float, timetable: Timetable | None
) -> Iterator[Finding]:
    grace, jitter = _length(cls.grace), _length(cls.jitter)
    if timetable is not None and lease < 2 * timetable.period + grace:
        yield Finding(
            "django_jobqueue.W052",
            f"{_spell(job)}.unique_for is {lease:g} s, less than two periods of {_spell(cls)} "
            f"({timetable.period:g} s each) and its grace ({grace:g} s): a job that waits for one "
            "tick too long is enqueued twice.",
            "Raise unique_for, or run the reconciler more often.",
            cls,
        )
    if jitter > lease:
        yield Finding(
            "django_jobqueue.W054",
            f"{_spell(cls)} spreads its jobs over {jitter:g} s, longer than "
            f"{_spell(job)}.unique_for ({lease:g} s).",
            "Shorten jitter, or raise unique_for.",
            cls,
        )


def _option_problems(cls: type[Reconciler]) -> Iterator[Finding]:
    for name, (fits, hint) in _OPTIONS.items():
        value = getattr(cls, name)
        if not fits(value):
            message = f"{_spell(cls)}.{name} is {value!r}."
            yield Finding("django_jobqueue.E052", message, hint, cls)
    for name in ("grace", "heal_within"):
        if getattr(cls, name) is not None and not cls.age_field:
            yield Finding(
                "django_jobqueue.E052",
                f"{_spell(cls)}.{name} is set, and age_field is not.",
                "Name in age_field the field with the time from which a row waits.",
                cls,
            )


def _no_job(cls: type[Reconciler]) -> Finding:
    return Finding(
        "django_jobqueue.E050",
        f"{_spell(cls)}.job is {getattr(cls, 'job', None)!r}, not a job class that can run.",
        "Name the class whose jobs it enqueues, as in job = BackupJob.",
        cls,
    )


def _rivals(reconcilers: Iterable[type[Reconciler]]) -> Iterator[Finding]:
    by_job: dict[type[Job], list[type[Reconciler]]] = {}
    for cls in reconcilers:
        by_job.setdefault(cls.job, []).append(cls)
    for job, rivals in by_job.items():
        if len(rivals) > 1:
            yield Finding(
                "django_jobqueue.W051",
                f"{' and '.join(map(_spell, rivals))} all enqueue {_spell(job)}.",
                "Make it one whose get_queryset() finds all rows; of two with different args a "
                "drift counts each one's jobs as surplus of the other.",
                rivals[-1],
            )


def _unpaired(job: type[Job]) -> Finding:
    return Finding(
        "django_jobqueue.W050",
        f"{_spell(job)} has no reconciler: what Redis loses of it is lost.",
        "Write one, or set self_healing = False and say why in the docstring of the class.",
        job,
    )


def _passes_the_key(cls: type[Reconciler], job: type[Job]) -> bool:
    return cls.args_for is Reconciler.args_for and job.args_for is Job.args_for


def _takes_one(job: type[Job]) -> bool:
    arity: Arity = job._arity
    return arity.least <= 1 and (arity.most is None or arity.most >= 1)


def _length(value: Any) -> float:
    return to_seconds(value) if _is_length(value) else 0.0


def _is_length(value: Any) -> bool:
    length = value.total_seconds() if isinstance(value, timedelta) else value
    return _is_real(length) and 0 < length < float("inf")


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _is_queue(value: Any) -> bool:
    return isinstance(value, str) and QUEUE_NAME.fullmatch(value) is not None


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_LENGTH = (_or_none(_is_length), "It is None, a timedelta or seconds above 0.")

#: What each option of a reconciler may be, and what is right.
_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "jitter": _LENGTH,
    "grace": _LENGTH,
    "heal_within": _LENGTH,
    "max_queue_latency": (_is_length, "It is a timedelta or seconds above 0."),
    "batch_size": (partial(_is_number, least=1), "It is a number from 1 on."),
    "max_per_run": (_or_none(partial(_is_number, least=1)), "It is None or a number from 1 on."),
    "max_errors": (_or_none(partial(_is_number, least=0)), "It is None or a number from 0 on."),
    "fields": (_is_names, "It is a tuple of names, as values_list() takes them."),
    "job_queue": (_or_none(_is_queue), "It is None or the name of a queue."),
}


def _spell(cls: type[Job]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
