"""Stop a job at its door while its kill switch is on."""

from __future__ import annotations

from django_jobqueue.client.middleware import Push
from django_jobqueue.payload import Payload
from django_jobqueue.switches.switches import switches


class KillSwitch:
    """
    Client middleware: refuse a push while the job's waffle flag is on.

    Name it first, so that it is outermost. The flag is read from this process's
    snapshot, never from the database, so that an enqueue inside a broken
    transaction still works.
    """

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if switches().refuses(payload):
            return None
        return self._push(payload)
