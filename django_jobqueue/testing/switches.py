"""Kill switches in a project's own tests: no Redis, no database."""

from __future__ import annotations

from django_jobqueue.job.base import Job
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.state import State
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing.contexts import Context


class disable_job(Context[None]):
    """
    Throw the kill switch of job classes for a while, in this process.

    A context manager, and a decorator of functions and of Django's test cases::

        with disable_job(InvoiceJob):
            assert InvoiceJob.perform_async(7) is None

    With ``percent`` only that share of the jobs is stopped. Needs neither Redis
    nor a database, and wins over what stands there.
    """

    def __init__(self, *jobs: type[Job], percent: float = 100) -> None:
        states = {flag_names(job)[0]: State.partial(percent) for job in jobs}
        super().__init__(lambda: switches().overridden(states))
