"""Give every job sound database connections, and leave no transaction behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from django_jobqueue import databases
from django_jobqueue.job.base import Job
from django_jobqueue.payload import printable
from django_jobqueue.worker.side_thread import aside, side_thread


class DatabaseHygiene:
    """
    Server middleware: sound connections for each job, and no transaction that it left open.

    More than Django does around each request: a connection that its server has
    closed since the last job is found before it fails a job, whatever
    CONN_MAX_AGE and CONN_HEALTH_CHECKS say. Name it first, so that it is outermost.
    A job that runs in line finds its caller's connections as they are, and
    leaves them so, with the transaction that the caller may stand in. An async job
    has those of its side thread, and costs nothing as long as it does not use them.
    """

    async_capable = True

    def __init__(self, perform: Callable[[Job], Any]) -> None:
        self._perform = perform
        self._is_async = iscoroutinefunction(perform)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, job: Job) -> Any:
        if self._is_async:
            return self._run_on_loop(job)
        if job.is_inline:
            return self._run_in_line(job)
        if databases.in_use():
            databases.prepare(_name(job))
        try:
            return self._perform(job)
        finally:
            if databases.in_use():
                databases.settle(_name(job))

    async def _run_on_loop(self, job: Job) -> Any:
        # The side thread itself begins with sound connections.
        try:
            return await self._perform(job)
        finally:
            side = side_thread()
            if side is None or side.is_used:
                await aside(databases.settle, _name(job))

    def _run_in_line(self, job: Job) -> Any:
        callers = databases.open_transactions()
        try:
            return self._perform(job)
        finally:
            databases.roll_back(_name(job), but=callers)


def _name(job: Job) -> str:
    return f"{printable(job.payload.job_class)} jid={printable(job.payload.jid)}"
