"""Whether the kill switches can stop what an operator means to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.db import DatabaseError

from django_jobqueue import conf
from django_jobqueue.checks.common import TAG, spell
from django_jobqueue.job.base import Job
from django_jobqueue.job.registry import registry
from django_jobqueue.switches import flags, naming


@register(TAG)
def check_kill_switches(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Tell what keeps a job from being stopped, and what waffle's settings do not do."""
    messages = list(_check_flag_names())
    values, _ = conf.read_settings(getattr(settings, "JOBQUEUE", {}))
    if conf.KILL_SWITCH_MIDDLEWARE not in values["client_middleware"]:
        messages.append(
            Warning(
                "JOBQUEUE['CLIENT_MIDDLEWARE'] does not name KillSwitch: jobs are enqueued while "
                "their kill switch is on.",
                hint=f"Put {conf.KILL_SWITCH_MIDDLEWARE!r} first.",
                id="django_jobqueue.W031",
            )
        )
    if not flags.is_installed():
        messages.append(
            Warning(
                "waffle is not in INSTALLED_APPS: no job can be stopped by a kill switch.",
                hint="Add 'waffle' to INSTALLED_APPS and run manage.py migrate.",
                id="django_jobqueue.W030",
            )
        )
    return messages


@register(TAG, deploy=True)
def check_waffle(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Tell which settings of waffle do not mean for a kill switch what they mean elsewhere."""
    if not flags.is_installed():
        return []
    notes: list[CheckMessage] = []
    if flags.default_state():
        notes.append(
            Info(
                "WAFFLE_FLAG_DEFAULT is true; a kill switch that has no row is off all the same.",
                hint="To stop a job, turn its flag on.",
                id="django_jobqueue.I030",
            )
        )
    if flags.creates_missing():
        notes.append(
            Info(
                "WAFFLE_CREATE_MISSING_FLAGS is true; the rows of kill switches are made by "
                "manage.py migrate, and never by enqueueing a job.",
                hint="Run manage.py migrate after you have added a job.",
                id="django_jobqueue.I031",
            )
        )
    if flags.cache_backend().endswith(".LocMemCache"):
        notes.append(
            Info(
                "waffle keeps flags in a cache of each process, so what it says of a flag may be "
                "old in other processes. Kill switches do not use that cache.",
                hint="For flags of your own, let WAFFLE_CACHE_NAME name a cache that is shared.",
                id="django_jobqueue.I032",
            )
        )
    return notes


@register(Tags.database)  # not ours: asked for by its tag, a check may be given all databases
def check_flags(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Tell which flags look as if they did something and do nothing. Asks the database."""
    if not flags.is_installed() or flags.database() not in (databases or ()):
        return []
    try:
        rows = [row for row in flags.rows() if flags.says_nothing(row)]
    except DatabaseError:
        return []  # migrate asks before it makes the table
    return [
        Warning(
            f"The kill switch {row.name} is set to Unknown without a percentage: it stops nothing, "
            f"whatever its other fields say of users and requests.",
            hint="Set Everyone to Yes or No, or give it a percentage.",
            obj=row,
            id="django_jobqueue.W032",
        )
        for row in rows
    ]


def _check_flag_names() -> Iterator[CheckMessage]:
    owners: dict[str, list[type[Job]]] = {}
    for cls in registry().classes():
        for name in naming.flag_names(cls):
            owners.setdefault(name, []).append(cls)
    for name, classes in sorted(owners.items()):
        if len(classes) > 1:
            yield Error(
                f"The job classes {' and '.join(sorted(map(spell, classes)))} have one kill "
                f"switch, {name!r}: it would stop them all.",
                hint="Give all but one of them a kill_switch of its own.",
                obj=classes[-1],
                id="django_jobqueue.E030",
            )
        if len(name) > naming.MAX_LENGTH:
            yield Error(
                f"The kill switch of {spell(classes[0])} is {name!r}: waffle takes "
                f"{naming.MAX_LENGTH} characters, this has {len(name)}.",
                hint="Give the class a shorter kill_switch.",
                obj=classes[0],
                id="django_jobqueue.E031",
            )
