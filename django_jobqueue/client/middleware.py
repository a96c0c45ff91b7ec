"""The shape of a client middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from django_jobqueue.payload import Payload

#: The next call: takes a payload, returns the one to push, or None where the push is refused.
Push = Callable[[Payload], Payload | None]


class ClientMiddleware(Protocol):
    """
    A class made once with the next call, then called with each payload.

    It may pass on another payload (``payload.replace(...)``), or return None
    without calling on: then the push is refused and nothing reaches Redis. An
    exception reaches the caller of ``perform_async``. The same chain is asked
    again when a scheduled job or a retry comes due; there, None drops the job
    and an exception holds it for a minute.
    """

    def __init__(self, push: Push) -> None: ...

    def __call__(self, payload: Payload) -> Payload | None: ...
