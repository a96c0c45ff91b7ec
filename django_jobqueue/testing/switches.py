"""Kill switches in a project's own tests: no Redis, no database."""

from __future__ import annotations

from contextlib import AbstractContextManager

from django.test.utils import TestContextDecorator

from django_jobqueue.job.base import Job
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.state import State
from django_jobqueue.switches.switches import switches


class disable_job(TestContextDecorator):
    """
    Throw the kill switch of job classes for a while, in this process.

    A context manager, and a decorator of functions and of Django's test cases::

        with disable_job(InvoiceJob):
            assert InvoiceJob.perform_async(7) is None

    With ``percent`` only that share of the jobs is stopped. Needs neither Redis
    nor a database, and wins over what stands there.
    """

    def __init__(self, *jobs: type[Job], percent: float = 100) -> None:
        super().__init__()
        self._states = {flag_names(job)[0]: State.partial(percent) for job in jobs}
        self._entered: list[AbstractContextManager[None]] = []

    def enable(self) -> None:
        """Throw the switches."""
        override = switches().overridden(self._states)
        override.__enter__()
        self._entered.append(override)

    def disable(self) -> None:
        """Put them back."""
        self._entered.pop().__exit__(None, None, None)
