"""Give every job a clean database connection, and leave no transaction behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_jobqueue.job.base import Job
from django_jobqueue.payload import printable

logger = logging.getLogger("django_jobqueue.job")


class DatabaseHygiene:
    """
    Server middleware: close stale connections around each job, roll back what it left open.

    What Django does around each request. Name it first, so that it is outermost.
    A job that runs in line finds its caller's connections as they are, and
    leaves them so, with the transaction that the caller may stand in.
    """

    def __init__(self, perform: Callable[[Job], Any]) -> None:
        self._perform = perform

    def __call__(self, job: Job) -> Any:
        callers = {c.alias for c in _connected() if _is_open(c)} if job.is_inline else set()
        if not job.is_inline:
            for connection in _connected():
                connection.close_if_unusable_or_obsolete()
        try:
            return self._perform(job)
        finally:
            for connection in _connected():
                if connection.alias not in callers and _is_open(connection):
                    self._roll_back(connection, job)
                if not job.is_inline:
                    connection.close_if_unusable_or_obsolete()

    def _roll_back(self, connection: BaseDatabaseWrapper, job: Job) -> None:
        """End a transaction that the job began and did not end."""
        logger.warning(
            "%s jid=%s left a transaction open on database %r; it is rolled back",
            printable(job.payload.job_class),
            printable(job.payload.jid),
            connection.alias,
        )
        # Closing is the one way that also resets the stack of atomic blocks.
        connection.in_atomic_block = False
        connection.savepoint_ids = []
        connection.atomic_blocks = []
        connection.run_on_commit = []
        connection.needs_rollback = False
        connection.close()


#: Whether this thread may be connected to a database. Asking Django takes longer
#: than many a job, and most jobs of a thread that has no connection leave it so.
_thread = threading.local()


def _connected() -> list[BaseDatabaseWrapper]:
    """Return the connections that this thread has made, those with a database behind them."""
    if not getattr(_thread, "may_be_connected", True):
        return []
    found = [c for c in connections.all(initialized_only=True) if c.connection is not None]
    _thread.may_be_connected = bool(found)
    return found


def _note_connection(**_: Any) -> None:
    _thread.may_be_connected = True


connection_created.connect(_note_connection, dispatch_uid="django_jobqueue.middleware.database")


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is open that somebody began."""
    # Not get_autocommit(): that would connect.
    return connection.in_atomic_block or not connection.autocommit
