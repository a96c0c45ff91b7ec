"""Give every job a clean database connection, and leave no transaction behind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections

from django_jobqueue.job.base import Job
from django_jobqueue.payload import printable

logger = logging.getLogger("django_jobqueue.job")


class DatabaseHygiene:
    """
    Server middleware: close stale connections around each job, roll back what it left open.

    What Django does around each request. Name it first, so that it is outermost.
    """

    def __init__(self, perform: Callable[[Job], Any]) -> None:
        self._perform = perform

    def __call__(self, job: Job) -> Any:
        close_old_connections()
        try:
            return self._perform(job)
        finally:
            for connection in connections.all(initialized_only=True):
                self._end_transaction(connection, job)
            close_old_connections()

    def _end_transaction(self, connection: Any, job: Job) -> None:
        """Roll back a transaction that the job began and did not end."""
        if connection.connection is None:
            return
        if connection.in_atomic_block or not connection.get_autocommit():
            logger.warning(
                "%s jid=%s left a transaction open on database %r; it is rolled back",
                printable(job.payload.job_class), printable(job.payload.jid), connection.alias,
            )  # fmt: skip
            # Closing is the one way that also resets the stack of atomic blocks.
            connection.in_atomic_block = False
            connection.savepoint_ids = []
            connection.atomic_blocks = []
            connection.run_on_commit = []
            connection.needs_rollback = False
            connection.close()
