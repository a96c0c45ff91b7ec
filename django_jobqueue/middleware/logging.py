"""Say in every log line of a job which job it is, and in one line how it went."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from django_jobqueue import clock
from django_jobqueue.job.base import Job
from django_jobqueue.log import running
from django_jobqueue.payload import Payload, log_facts

logger = logging.getLogger("django_jobqueue.job")

#: What records outside of a job say of it.
_NO_FACTS = {"jid": "", "job": "", "queue": "", "attempt": ""}


class LogContext:
    """
    Server middleware: keep the running job for ``JobFilter``, log its start and its success.

    A failure is logged by the worker, with what happens next. Arguments are
    never logged: they may hold secrets.
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
        if logger.isEnabledFor(logging.INFO):
            with _Told(job.payload):
                return self._perform(job)
        # The same without a word, in half the time.
        token = running.set(job.payload)
        try:
            return self._perform(job)
        finally:
            running.reset(token)

    async def _run_on_loop(self, job: Job) -> Any:
        with _Told(job.payload):
            return await self._perform(job)


class _Told:
    """Around one run: whose it is, and how long it took when it went well."""

    __slots__ = ("_began", "_facts", "_payload", "_token")

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._facts: dict[str, Any] | None = None

    def __enter__(self) -> None:
        self._token = running.set(self._payload)
        if logger.isEnabledFor(logging.INFO):
            facts = self._facts = log_facts(self._payload)
            logger.debug("%(job)s jid=%(jid)s started, attempt %(attempt)s", facts, extra=facts)
            self._began = clock.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        facts = self._facts
        if facts is not None and kind is None:
            facts["elapsed"] = clock.monotonic() - self._began
            logger.info("%(job)s jid=%(jid)s done in %(elapsed).3f s", facts, extra=facts)
        running.reset(self._token)


class JobFilter(logging.Filter):
    """
    Logging filter: put ``jid``, ``job``, ``queue`` and ``attempt`` on every record.

    They are empty outside a job, so that a format may name them always.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; never drops a record."""
        payload = running.get()
        facts = _NO_FACTS if payload is None else log_facts(payload)
        for name, value in facts.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True
