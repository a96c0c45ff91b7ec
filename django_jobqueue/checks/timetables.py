"""Whether what PERIODIC and RECONCILERS name can be run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from django_jobqueue import conf
from django_jobqueue.checks.common import TAG, cannot_import
from django_jobqueue.client.arguments import check_arguments
from django_jobqueue.exceptions import ArgumentNotSerializable, InvalidArguments
from django_jobqueue.job.base import Job
from django_jobqueue.job.options import Arity
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.timetable import Timetable


@register(TAG)
def check_timetables(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Tell what PERIODIC and RECONCILERS name in vain."""
    values, _ = conf.read_settings(getattr(settings, "JOBQUEUE", {}))
    return [
        message
        for setting in ("PERIODIC", "RECONCILERS")
        for entry in values[setting.lower()]
        for message in _check_timetable(setting, entry)
    ]


def _check_timetable(setting: str, entry: Timetable) -> Iterator[CheckMessage]:
    of_reconciler = setting == "RECONCILERS"
    place = f"JOBQUEUE[{setting!r}]"
    place += f" names {entry.job!r}" if of_reconciler else f"[{entry.name!r}] names {entry.job!r}"
    try:
        found = import_string(entry.job)
    except Exception as error:  # whatever a module does when it is imported
        yield cannot_import(place, error)
        return
    if not (isinstance(found, type) and issubclass(found, Job)):
        yield Error(
            f"{place}, which is no job class.",
            hint="Name a class that derives from Job.",
            id="django_jobqueue.E040",
        )
    elif found.abstract:
        yield Error(
            f"{place}, which is abstract.",
            hint="Name a class that derives from it.",
            id="django_jobqueue.E040",
        )
    elif of_reconciler and not issubclass(found, Reconciler):
        yield Error(
            f"{place}, which is no reconciler.",
            hint="Name a class that derives from Reconciler; other jobs go into PERIODIC.",
            id="django_jobqueue.E042",
        )
    else:
        yield from _check_args(place, found, entry.args)


def _check_args(place: str, job: type[Job], args: tuple[Any, ...]) -> Iterator[CheckMessage]:
    try:
        Arity.of(job.perform).check(job.__qualname__, args)
        check_arguments(list(args))
    except (InvalidArguments, ArgumentNotSerializable) as error:
        yield Error(
            f"{place}, and its arguments do not fit: {error}",
            hint="Correct 'args' in the entry.",
            id="django_jobqueue.E041",
        )
