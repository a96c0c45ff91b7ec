"""The shape of a server middleware."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from django_jobqueue.job.base import Job

#: The next call: runs a job and returns what ``perform`` returns.
Perform = Callable[[Job], Any]
#: The same on an event loop.
AsyncPerform = Callable[[Job], Coroutine[Any, Any, Any]]


class ServerMiddleware(Protocol):
    """
    A class made once with the next call, then called with each job about to run.

    It is called from several threads at once. An exception, before or after,
    is a failure of the job. Not calling on skips the job: it is acknowledged
    and counted as skipped.

    One that can also serve jobs on an event loop says ``async_capable = True``, as in
    Django. It is made a second time with a next call that is async, which
    ``asgiref.sync.iscoroutinefunction`` tells, and returns an awaitable then. Others
    hold a thread for each such job.
    """

    def __init__(self, perform: Perform) -> None: ...

    def __call__(self, job: Job) -> Any: ...
