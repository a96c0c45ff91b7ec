"""The jobs this process holds, from their claim to the delivery of their result."""

from __future__ import annotations

from dataclasses import dataclass

from django_jobqueue.store.claims import Claim
from django_jobqueue.worker.executor import Outcome


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


#: What marks the field ``crashes`` in the bytes of a payload.
_CRASHES = b'"crashes":'


def may_be_suspect(raw: bytes) -> bool:
    """Return whether a payload seems to have crashed a worker before, without decoding it."""
    return _CRASHES in raw
