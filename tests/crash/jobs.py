"""The jobs of the life that is killed: each ends in another way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet

from django_jobqueue import Discard, Job, Snooze
from django_jobqueue.job.times import Delay
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.reconciliation.report import RunReport
from tests.healing.models import Order
from tests.jobsite.jobs import journal

#: In the place of an ident: a job has pushed the job with this jid, and knows that.
ACCEPTED = "accepted"


class ToldJob(Job):
    """Writes to the journal when it starts and when it succeeds."""

    abstract = True
    self_healing = False

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            self.act(ident)

    def act(self, ident: str) -> None:
        """Do what this class does."""

    @property
    def is_first(self) -> bool:
        """Whether no earlier start of this job, or of one with its ident, is known."""
        ident = str(self.payload.args[0])
        return sum(e.ident == ident and e.mark == "S" for e in journal().entries()) == 1


class SteadyJob(ToldJob):
    """Succeed."""


class FragileJob(ToldJob):
    """Succeed; workers have died of it before."""


class StumblingJob(ToldJob):
    """Fail at the first attempt."""

    def act(self, ident: str) -> None:
        if self.attempt == 1:
            raise ValueError("the first attempt fails by design")


class DyingJob(ToldJob):
    """Fail at every attempt, of which there are two."""

    retry = 1
    unique_for = 600

    def act(self, ident: str) -> None:
        raise ValueError("every attempt fails by design")


class DrowsyJob(ToldJob):
    """Snooze once."""

    def act(self, ident: str) -> None:
        if not has_slept(self.payload.fields):
            raise Snooze(30)


def has_slept(fields: Mapping[str, Any]) -> bool:
    """
    Return whether a drowsy job has snoozed, by its payload.

    It begins with a note that its class was unknown once: a snooze takes that out, and a crash
    does not.
    """
    return "unknown_since" not in fields


class GivenUpJob(ToldJob):
    """Discard itself."""

    def act(self, ident: str) -> None:
        raise Discard("by design")


class OnceJob(ToldJob):
    """Unique until it has succeeded."""

    unique_for = 600


class OnceStartedJob(ToldJob):
    """Unique until it starts; the first one pushes another of its kind."""

    unique_for = 600
    unique_until = "start"

    def act(self, ident: str) -> None:
        if self.is_first:
            type(self).perform_async(ident)


class OnceMoreJob(ToldJob):
    """Unique, and run once more where it is pushed while it runs: by itself, the first time."""

    unique_for: ClassVar[Delay | None] = 600
    on_conflict = "rerun"

    def act(self, ident: str) -> None:
        if self.is_first:
            type(self).perform_async(ident)


class ChildJob(ToldJob):
    """Pushed by another job."""

    queue = "low"


class OnlyChildJob(ToldJob):
    """Unique, and pushed by another job."""

    queue = "low"
    unique_for = 600


class ParentJob(ToldJob):
    """Push two jobs."""

    def act(self, ident: str) -> None:
        for job in (ChildJob, OnlyChildJob):
            jid = job.perform_async(f"{ident}.{job.__name__}")
            if jid is not None:
                journal().start(jid, ACCEPTED)


class SwitchedJob(ToldJob):
    """Its kill switch is thrown, and turned off in the middle of the life."""

    unique_for = 600


class StoppedJob(ToldJob):
    """Its kill switch stays on."""


class LiftedJob(ToldJob):
    """Is held; its kill switch is off by now."""


class AwaitedJob(Job):
    """Run on the event loop."""

    queue = "aio"
    self_healing = False
    unique_for = 600

    async def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            pass


class HourlyJob(Job):
    """Pushed by the ticker."""

    queue = "low"
    self_healing = False

    def perform(self) -> None:
        with journal().running(self.jid, "hourly"):
            pass


class RowJob(Job):
    """Finish a row."""

    queue = "low"
    unique_for = 600

    def perform(self, pk: int) -> None:
        with journal().running(self.jid, f"row{pk}"):
            Order.objects.filter(pk=pk).update(state="done")


class ScheduleRows(Reconciler):
    """Every row that is not finished."""

    job = RowJob
    queue = "low"

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(state="pending")

    def perform(self) -> RunReport:
        with journal().running(self.jid, "reconciler"):
            return super().perform()
