"""The class that a user derives from: which rows need which job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet

from django_jobqueue.exceptions import Snooze
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.options import to_seconds
from django_jobqueue.job.times import Delay
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.report import RunReport, RunStatus
from django_jobqueue.switches.switches import switches


class Reconciler(Job):
    """
    Bring the jobs of one class back from the state of the database.

    ::

        class ScheduleBackups(Reconciler):
            job = BackupJob

            def get_queryset(self):
                return Database.objects.filter(state="pending")

    Listed in ``JOBQUEUE["RECONCILERS"]`` it runs by its timetable, as a job like
    any other. A run enqueues ``job`` once for every row, where that is unique
    only for those that have none on the way. ``abstract = True`` is for classes
    that others derive from.
    """

    abstract = True
    queue = "reconcilers"
    retry = 0
    # The models keep what went wrong. A tick a minute that fails would wash the
    # jobs of everybody else out of the dead set.
    dead = False
    unique_for = timedelta(minutes=10)
    # Who triggers one that runs wants rows seen that it may have passed already.
    on_conflict = "rerun"
    # Its ticks are made again by the ticker.
    self_healing = False

    #: The class whose jobs are enqueued.
    job: ClassVar[type[Job]]
    #: The queue they go to; None for the job's own.
    job_queue: ClassVar[str | None] = None
    #: What ``args_for`` needs of a row besides ``pk``: names as ``values_list`` takes.
    #: No model instances are made.
    fields: ClassVar[Sequence[str]] = ()
    #: Rows that one query reads and one push enqueues.
    batch_size: ClassVar[int] = 1000
    #: Spread the jobs at random over this long.
    jitter: ClassVar[Delay | None] = None
    #: Leave rows alone that are younger, for somebody is about to enqueue them.
    grace: ClassVar[Delay | None] = None
    #: The field with the time from which a row waits, for ``grace`` and the age of the oldest.
    age_field: ClassVar[str | None] = None
    #: The objective: no row waits for longer. A run that finds an older one warns.
    heal_within: ClassVar[Delay | None] = None
    #: Look at so many rows at most; the next run goes on behind them.
    max_per_run: ClassVar[int | None] = None
    #: Add nothing while the oldest job of the queue has waited for longer.
    max_queue_latency: ClassVar[Delay] = 60
    #: Give up after so many rows with errors.
    max_errors: ClassVar[int | None] = 1000
    #: The database to read from; None for what the queryset says.
    using: ClassVar[str | None] = None

    # What a user writes --------------------------------------------------------

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows that need a job. Its order is not used, and it must not be sliced."""
        raise NotImplementedError(f"{type(self).__qualname__} has no get_queryset()")

    def args_for(self, row: Any) -> Sequence[Any]:
        """
        Return the arguments of the job for a row: what ``args_for`` of the job says.

        ``row`` has ``pk`` and what ``fields`` names, as attributes. Raise to
        skip it as an error.
        """
        args: Sequence[Any] = self.job.args_for(row)
        return args

    # What runs -----------------------------------------------------------------

    def perform(self) -> RunReport:
        """
        Look at the rows and push what is missing; return how it went.

        Raises: Snooze when the worker stops, so that another one goes on.
        """
        # Here, because the models can be imported only when the apps are loaded.
        from django_jobqueue.reconciliation.run import reconcile

        report = reconcile(self.plan(), jid=self.jid, halted=self._is_halted)
        if report.status is RunStatus.PARTIAL and not self.is_inline:
            type(self).set(on_commit=False).perform_async()
        if report.status is RunStatus.INTERRUPTED and self.stopping:
            # Another worker goes on at once; the next tick may be tomorrow.
            raise Snooze(0)
        return report

    def plan(self) -> Plan:
        """Return what there is to do, in seconds."""
        return Plan(
            name=wire_name(type(self)),
            job=self.job,
            queue=self.job_queue or self.job.queue,
            queryset=self.get_queryset,
            args_for=self.args_for,
            late=self._late(),
            fields=tuple(self.fields),
            batch_size=self.batch_size,
            jitter=_seconds(self.jitter),
            grace=_seconds(self.grace),
            age_field=self.age_field,
            heal_within=None if self.heal_within is None else to_seconds(self.heal_within),
            max_per_run=self.max_per_run,
            max_errors=self.max_errors,
            using=self.using,
        )

    def _late(self) -> float:
        longest = to_seconds(self.max_queue_latency)
        lease = self.job.unique_for
        # Half a lease: a lock that ends while its job waits lets a second one in.
        return longest if lease is None else min(longest, to_seconds(lease) / 2)

    def _is_halted(self) -> bool:
        return self.stopping or switches().refuses(self.payload)


def _seconds(value: Delay | None) -> float:
    return 0.0 if value is None else to_seconds(value)
