"""What the checks share."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error

from django_jobqueue.job.base import Job
from django_jobqueue.validators import show

#: The checks' tag, for ``manage.py check --tag``.
TAG = "django_jobqueue"


def spell(cls: type[Job]) -> str:
    """Return the dotted path of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def cannot_import(place: str, error: Exception) -> CheckMessage:
    return Error(
        f"{place}, which cannot be imported ({type(error).__name__}: {show(str(error))}).",
        hint="Correct the dotted path, or what the module does when it is imported.",
        id="django_jobqueue.E010",
    )
