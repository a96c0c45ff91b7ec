"""The job that carries an order out in a worker."""

from __future__ import annotations

from django_jobqueue.bulk.records import FAILED, ended
from django_jobqueue.bulk.work import Outcome, run
from django_jobqueue.connection import store
from django_jobqueue.exceptions import Discard, Snooze
from django_jobqueue.job.base import Job

#: Seconds until a look again, where another works at the order.
PATIENCE = 5.0


class BulkAction(Job):
    """
    Work at the order with this id; only the id travels.

    No reconciler brings it back: where Redis has lost it, the order is lost too, and the
    jobs that it was about. It comes again until the order is over, however often its
    worker stops; with the third worker that dies of it, it has failed.
    """

    # The queue that every fleet works for its reconcilers, and never full.
    queue = "reconcilers"
    retry = 5
    # The record tells what went wrong, and can be worked at without this job.
    dead = False
    self_healing = False
    # A project may well have a BulkAction of its own.
    kill_switch = "jobqueue_bulk_action"

    def perform(self, id: str) -> None:
        """Go on with the order; raise Snooze where it is to go on later."""
        outcome = run(id, self.jid, lambda: self.stopping or self.disabled)
        if outcome is Outcome.PAUSED:
            # Where the kill switch lets jobs in queues run, it would come at once, and for ever.
            raise Snooze(PATIENCE if self.disabled else 0)
        if outcome is Outcome.BUSY:
            raise Snooze(PATIENCE)
        if outcome is Outcome.GONE:
            raise Discard("the order is gone: its record was removed, or is too old")

    def on_exhausted(self, error: BaseException) -> None:
        """Tell who waits that nothing more will come."""
        (id,) = self.payload.args
        store().bulk.note(id, self.jid, ended(FAILED, f"{type(error).__name__}: {error}"))
