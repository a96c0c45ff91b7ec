"""Write down who did what from a shell."""

from __future__ import annotations

import logging

from django_jobqueue.payload import printable
from django_jobqueue.switches.events import os_user

logger = logging.getLogger("django_jobqueue.management")


def note(act: str, target: str, count: int = 1, **facts: object) -> None:
    """
    Log that the user of this process did something to ``count`` things.

    Never arguments of jobs. ``facts`` stand in the record's ``extra`` beside ``actor``,
    ``act``, ``target`` and ``count``.
    """
    actor = os_user()
    logger.info(
        "%s %s: %s (%d)", printable(actor), act, printable(target), count,
        extra={"actor": actor, "act": act, "target": target, "count": count, **facts},
    )  # fmt: skip
