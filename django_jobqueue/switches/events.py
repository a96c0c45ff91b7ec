"""Who threw which switch: one line in the database for each change, whatever door it came by."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from django.db import DatabaseError, router, transaction
from django.db.models import Max, QuerySet

from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.switches.state import OFF, State

logger = logging.getLogger("django_jobqueue.switches")

Source = KillSwitchEvent.Source

#: Who acts here, and through which door.
_acting: ContextVar[tuple[str, str] | None] = ContextVar("jobqueue_acting", default=None)


@contextlib.contextmanager
def acting(actor: str, source: str) -> Iterator[None]:
    """Let what is changed inside be this actor's doing."""
    token = _acting.set((actor, source))
    try:
        yield
    finally:
        _acting.reset(token)


def os_user() -> str:
    """Return the name of the user that this process belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have a user that nobody named
        return f"uid {os.getuid()}"


def record(flag: str, state: State, *, admin: str | None = None) -> KillSwitchEvent | None:
    """
    Write down that a flag has this state now, if the newest event says otherwise.

    ``admin`` is the user of Django's admin who did it. Returns the event, None
    where nothing has changed. A table that cannot be written is logged: an
    operator in need must get his switch.
    """
    actor, source = _acting.get() or (
        (os_user(), Source.CODE) if admin is None else (admin, Source.ADMIN)
    )
    try:
        # A failure must not break the caller's transaction.
        with transaction.atomic(using=_events().db):
            last = _events().filter(flag=flag).order_by("-pk").first()
            old = OFF.encode() if last is None else last.new_state
            if old == state.encode():
                return None
            return _events().create(
                flag=flag, old_state=old, new_state=state.encode(), actor=actor[:150], source=source
            )
    except DatabaseError:
        logger.exception("%s is %s now, and that could not be recorded", flag, state)
        return None


def attribute(event: KillSwitchEvent, admin: str) -> None:
    """Say of an event of nobody in particular that a user of Django's admin did it."""
    if event.source == Source.CODE:
        _events().filter(pk=event.pk).update(actor=admin[:150], source=Source.ADMIN)


def record_unrecorded(states: Mapping[str, State]) -> None:
    """
    Write down the changes that no event tells of: somebody wrote to the table itself.

    ``states`` are those of all rows; a flag without a row is off.
    """
    recorded = {flag: event.new_state for flag, event in newest().items()}
    _events().bulk_create(
        KillSwitchEvent(flag=flag, old_state=old, new_state=new, source=Source.DATABASE)
        for flag in sorted({*recorded, *states})
        if (old := recorded.get(flag, OFF.encode())) != (new := states.get(flag, OFF).encode())
    )


def newest() -> dict[str, KillSwitchEvent]:
    """Return the newest event of every flag that has one."""
    last = _events().order_by().values("flag").annotate(last=Max("pk")).values("last")
    return {event.flag: event for event in _events().filter(pk__in=last)}


def _events() -> QuerySet[KillSwitchEvent]:
    # Of the database that is written to: a replica may not have the last one yet.
    return KillSwitchEvent.objects.using(router.db_for_write(KillSwitchEvent))
