"""Client middleware of the workers that tests start."""

from __future__ import annotations

import time

from django_jobqueue.client.middleware import Push
from django_jobqueue.payload import Payload

#: Seconds that each push takes.
PAUSE = 0.005


class Slow:
    """Take some time for each push, so that many take long enough to be disturbed."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        time.sleep(PAUSE)
        return self._push(payload)
