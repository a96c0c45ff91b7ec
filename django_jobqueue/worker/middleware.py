"""The shape of a server middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django_jobqueue.job.base import Job

#: The next call: runs a job and returns what ``perform`` returns.
Perform = Callable[[Job], Any]


class ServerMiddleware(Protocol):
    """
    A class made once with the next call, then called with each job about to run.

    It is called from several threads at once. An exception, before or after,
    is a failure of the job. Not calling on skips the job: it is acknowledged
    and counted as skipped.
    """

    def __init__(self, perform: Perform) -> None: ...

    def __call__(self, job: Job) -> Any: ...
