"""The jobs this process holds, from their claim to the delivery of their result."""

from __future__ import annotations

from dataclasses import dataclass

from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.payload import Payload, printable
from django_jobqueue.store.claims import Claim
from django_jobqueue.worker.outcome import Outcome


@dataclass(slots=True, eq=False)
class Held:
    """
    One claimed job.

    ``since``, ``started`` and ``ended`` are monotonic seconds. ``lost`` when
    somebody else took it back before it was started: it must not be started.
    """

    claim: Claim
    since: float
    started: float | None = None
    ended: float | None = None
    lost: bool = False
    outcome: Outcome | None = None


#: What stands in the bytes of each payload that has the field ``crashes``.
CRASHES = b'"crashes":'


def is_suspect(raw: bytes) -> bool:
    """Return whether a job has crashed a worker before. Look for ``CRASHES`` first."""
    try:
        return bool(Payload.decode(raw).crashes)
    except InvalidPayload:
        return False


def jid_of(raw: bytes) -> str:
    """Return a job's id for people, or ``?``."""
    try:
        return printable(Payload.decode(raw).jid)
    except (InvalidPayload, RecursionError):
        return "?"
