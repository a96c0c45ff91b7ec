"""Client middleware that tests name in settings."""

from __future__ import annotations

from django_jobqueue.client.middleware import Push
from django_jobqueue.payload import Payload


class Picky:
    """Refuses jobs with the argument 13, fails at 14, and leaves a mark on the others."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if payload.args == [13]:
            return None
        if payload.args == [14]:
            raise RuntimeError("cannot say")
        return self._push(payload.replace(marked=True))
