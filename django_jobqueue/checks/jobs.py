"""Whether job classes can run, and whether each can be healed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from django_jobqueue import conf
from django_jobqueue.checks.common import TAG, spell
from django_jobqueue.encryption import find_problem
from django_jobqueue.job.base import Job
from django_jobqueue.job.coroutines import is_generator
from django_jobqueue.job.options import option_problems
from django_jobqueue.job.registry import registry
from django_jobqueue.reconciliation.problems import find_problems


@register(TAG)
def check_jobs(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell what is wrong with the job classes that are known by now."""
    messages: list[CheckMessage] = []
    values, _ = conf.read_settings(getattr(settings, "JOBQUEUE", {}))
    missing = find_problem(values["encryption_keys"])
    classes = dict.fromkeys(registry().classes())
    for name, rivals in registry().duplicates().items():
        classes |= dict.fromkeys(rivals)
        messages.append(
            Error(
                f"The job classes {' and '.join(sorted(map(spell, rivals)))} have one name in "
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
                    f"{spell(cls)} has no perform().",
                    hint="Write one, or say abstract = True if others derive from it.",
                    obj=cls,
                    id="django_jobqueue.E022",
                )
            )
        elif is_generator(cls.perform):
            messages.append(
                Error(
                    f"{spell(cls)}.perform() has a yield: calling it does nothing.",
                    hint="Return, or await, instead.",
                    obj=cls,
                    id="django_jobqueue.E022",
                )
            )
        if cls.encrypt is True and missing is not None:
            messages.append(
                Error(
                    f"{spell(cls)} says encrypt, but {missing[0]}",
                    hint=missing[1],
                    obj=cls,
                    id="django_jobqueue.E023",
                )
            )
        messages += (
            Error(message, hint=hint, obj=cls, id="django_jobqueue.E021")
            for message, hint in option_problems(cls)
        )
    return messages


@register(TAG)
def check_reconcilers(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Tell which jobs have no reconciler, and what is wrong with those that there are."""
    values, _ = conf.read_settings(getattr(settings, "JOBQUEUE", {}))
    return [
        (Error if finding.is_error else Warning)(
            finding.message, hint=finding.hint, obj=finding.cls, id=finding.id
        )
        for finding in find_problems(values["reconcilers"])
    ]
