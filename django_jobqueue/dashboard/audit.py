"""Who did what: every act is an entry of the admin's own log, and a line for the process's."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType

from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.models import Dashboard
from django_jobqueue.payload import printable

logger = logging.getLogger("django_jobqueue.dashboard")

#: Characters that a column of the admin's log takes, and of a target in the text beside it.
_REPR, _WHOLE = 200, 10_000


def write(visit: Visit, act: str, target: str, count: int, told: str, *, removes: bool) -> None:
    """
    Write down that the user of a visit did something to ``count`` things.

    ``act`` is the route's name, ``target`` what it was done to, ``told`` what the
    operator was told. Never arguments of jobs. A target that is too long for its column
    stands behind it as well.
    """
    what = log(visit, act, target, count)
    told = f"{act} ({count}): {printable(told)}"
    if len(what) > _REPR:
        told += f" [{what}]"
    # A proxy has a type of its own, where it is asked for.
    kind = ContentType.objects.get_for_model(Dashboard, for_concrete_model=False)
    user: Any = visit.request.user.pk  # of whatever kind the project's users have
    LogEntry.objects.create(
        user_id=user,
        content_type_id=kind.pk,
        object_id=act,
        object_repr=what[:_REPR],
        action_flag=DELETION if removes else CHANGE,
        change_message=told,
    )


def log(visit: Visit, act: str, target: str, count: int) -> str:
    """Tell the process's log of an act, whatever the database does; return the target as told."""
    what = target if target.isprintable() else repr(target)[1:-1]
    what = what if len(what) <= _WHOLE else f"{what[:_WHOLE]}..."
    logger.info(
        "%s: %s on %s (%d)", printable(visit.actor), act, what, count,
        extra={"actor": visit.actor, "act": act, "target": target, "count": count},
    )  # fmt: skip
    return what
