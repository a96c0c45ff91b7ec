"""One run of one job: what the worker knows of it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django_jobqueue.payload import Payload


def _never() -> bool:
    return False


@dataclass(slots=True)
class Attempt:
    """
    A job's payload, the start of this run (monotonic seconds), and whether the worker stops.

    ``performed`` becomes True when the server middleware let the job through;
    ``inline`` where no worker runs it, but the thread that enqueued it.
    """

    payload: Payload
    queue: str
    started: float
    stopping: Callable[[], bool] = _never
    performed: bool = False
    inline: bool = False
