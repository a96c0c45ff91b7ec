"""One run of one job: what the worker knows of it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django_jobqueue.payload import Payload


def _never() -> bool:
    return False


@dataclass(slots=True)
class Attempt:
    """
    A job's payload, the start of this run (monotonic seconds), and whether the worker stops.

    ``performed`` becomes True when the server middleware let the job through;
    ``inline`` where no worker runs it, but the thread that enqueued it. ``clear`` are the
    arguments, once they are decrypted; None where they are no secret.
    """

    payload: Payload
    queue: str
    started: float
    stopping: Callable[[], bool] = _never
    performed: bool = False
    inline: bool = False
    clear: list[Any] | None = None

    @property
    def args(self) -> list[Any]:
        """The arguments of ``perform``."""
        return self.payload.args if self.clear is None else self.clear
