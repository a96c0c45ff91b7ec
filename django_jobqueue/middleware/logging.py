"""Say in every log line of a job which job it is, and in one line how it went."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django_jobqueue import clock
from django_jobqueue.job.base import Job
from django_jobqueue.payload import log_facts

logger = logging.getLogger("django_jobqueue.job")

#: What records outside of a job say of it.
_NO_FACTS = {"jid": "", "job": "", "queue": "", "attempt": ""}

_current: ContextVar[Job | None] = ContextVar("jobqueue_job", default=None)


class LogContext:
    """
    Server middleware: keep the running job for ``JobFilter``, log its start and its success.

    A failure is logged by the worker, with what happens next. Arguments are
    never logged: they may hold secrets.
    """

    def __init__(self, perform: Callable[[Job], Any]) -> None:
        self._perform = perform

    def __call__(self, job: Job) -> Any:
        token = _current.set(job)
        try:
            if not logger.isEnabledFor(logging.INFO):
                return self._perform(job)
            facts = log_facts(job.payload)
            logger.debug("%(job)s jid=%(jid)s started, attempt %(attempt)s", facts, extra=facts)
            began = clock.monotonic()
            result = self._perform(job)
            facts["elapsed"] = clock.monotonic() - began
            logger.info("%(job)s jid=%(jid)s done in %(elapsed).3f s", facts, extra=facts)
            return result
        finally:
            _current.reset(token)


class JobFilter(logging.Filter):
    """
    Logging filter: put ``jid``, ``job``, ``queue`` and ``attempt`` on every record.

    They are empty outside a job, so that a format may name them always.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; never drops a record."""
        job = _current.get()
        facts = _NO_FACTS if job is None else log_facts(job.payload)
        for name, value in facts.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True
