"""A box in place of Redis: jobs are kept to be looked at, and run when the test says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django_jobqueue import clock
from django_jobqueue.client.outlet import Entry, use_outlet
from django_jobqueue.encryption import clear_args
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.times import Delay, When
from django_jobqueue.payload import Payload
from django_jobqueue.store.claims import BURY, HELD, RETRY, SNOOZE
from django_jobqueue.testing.wanted import Wanted, described, told
from django_jobqueue.worker.inline import LocksHere, run_here

#: Jobs that jobs may enqueue while a box is drained.
LIMIT = 10_000


class FakeOutlet:
    """
    Keeps what was pushed, encoded as Redis would hold it. Unique jobs are kept once.

    ::

        with fake_jobs() as box:
            BackupJob.perform_in(60, 7)
            box.assert_enqueued(BackupJob, args=[7], at=timedelta(minutes=1))
            box.drain()

    What comes here has passed the client middleware and the check of its arguments.
    To run a job its bytes are taken through the serializer and the server
    middleware. The lock of a unique job lasts as long as the job, however long that is.
    """

    for_tests = True

    def __init__(self) -> None:
        #: What waits, in the order of its push: also what is for later, and retries.
        self.entries: list[Entry] = []
        #: What was left out, for its like was there.
        self.duplicates: list[Entry] = []
        #: What a kill switch stopped when it was to run.
        self.held: list[Payload] = []
        #: What failed for good while it was run as by a worker.
        self.dead: list[Payload] = []
        self._locks = LocksHere()

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Keep the jobs, without those whose like is here; see ``Outlet.push``."""
        left_out: dict[int, str] = {}
        for index, entry in enumerate(entries):
            owner = self._locks.take(entry)
            if owner is None:
                self.entries.append(entry)
            else:
                self.duplicates.append(entry)
                left_out[index] = owner
        return left_out

    # Looking -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.entries)

    def size(self, cls: type[Job] | None = None, *, queue: str | None = None) -> int:
        """Return how many jobs wait, of one class or in one queue."""
        return sum(_is_of(entry, cls, queue) for entry in self.entries)

    def jobs_of(self, cls: type[Job]) -> list[Entry]:
        """Return what waits of one class, in order."""
        return [entry for entry in self.entries if _is_of(entry, cls)]

    def args_of(self, cls: type[Job]) -> list[list[object]]:
        """Return the arguments of what waits of one class, in order."""
        return [clear_args(entry.payload) for entry in self.jobs_of(cls)]

    @property
    def retries(self) -> list[Entry]:
        """What waits because it has failed, each with the time of its next run."""
        return [entry for entry in self.entries if entry.payload.retry_count is not None]

    def clear(self) -> None:
        """Forget everything, with the locks."""
        for kept in (self.entries, self.duplicates, self.held, self.dead):
            kept.clear()
        self._locks = LocksHere()

    # Asserting ---------------------------------------------------------------------

    def assert_enqueued(
        self,
        job: type[Job],
        *,
        args: Sequence[Any] | None = None,
        queue: str | None = None,
        at: When | timedelta | None = None,
        within: Delay = 1,
        count: int | None = None,
    ) -> list[Entry]:
        """
        Assert that a job waits, and return those that match.

        Only what is given is compared: ``args`` is all arguments (``mock.ANY`` matches
        one), ``at`` is a moment (datetime or epoch seconds) or a delay after the push (a
        timedelta), give or take ``within`` (timedelta or seconds). No delay, and a
        moment that had passed at the push, is a job to run at once. ``count`` is how many
        there are to be, instead of at least one.

        Raises: AssertionError, which lists what is in the box.
        """
        wanted = Wanted(job, args, queue, at, within)
        found = [entry for entry in self.entries if wanted.is_met_by(entry)]
        if len(found) == count or (count is None and found):
            return found
        expected = f"{wanted}" if count is None else f"{count} of {wanted}"
        raise AssertionError(f"Expected {expected}, found {len(found)}.{self._told(job)}")

    def assert_not_enqueued(
        self,
        job: type[Job],
        *,
        args: Sequence[Any] | None = None,
        queue: str | None = None,
        at: When | timedelta | None = None,
        within: Delay = 1,
    ) -> None:
        """
        Assert that no such job waits; see ``assert_enqueued``.

        Raises: AssertionError, which lists what is in the box.
        """
        wanted = Wanted(job, args, queue, at, within)
        if any(wanted.is_met_by(entry) for entry in self.entries):
            raise AssertionError(f"Expected no {wanted}.{self._told(job)}")

    def assert_nothing_enqueued(self) -> None:
        """Assert that the box is empty. Raises: AssertionError, which lists what is in it."""
        if self.entries:
            raise AssertionError(f"Expected nothing.{self._told()}")

    # Running -----------------------------------------------------------------------

    def drain(
        self,
        cls: type[Job] | None = None,
        *,
        queue: str | None = None,
        due_only: bool = False,
        as_worker: bool = False,
    ) -> int:
        """
        Run all jobs, also those that they enqueue, in order; return how many ran.

        Those of one class or in one queue where that is said, and whatever their
        time, unless ``due_only``. A job that snoozes waits in the box again, and
        is not run twice by one drain.

        Raises what a job raises: it is out of the box then, the rest is still in it.
        With ``as_worker`` nothing is raised: a job that fails waits in the box for
        its retry, or is put to the ``dead``.
        """
        ran, most = 0, LIMIT + len(self.entries)
        later: list[Entry] = []
        try:
            with use_outlet(self):
                while (entry := self._next(cls, queue, due_only)) is not None:
                    held = len(self.held)
                    self._run(entry, later, as_worker=as_worker)
                    ran += len(self.held) == held
                    if ran > most:
                        raise AssertionError(
                            f"{ran:,} jobs ran, and there are more. Run a job that enqueues itself "
                            "by perform_one(), or where it is for later by drain(due_only=True)."
                            f"{self._told()}"
                        )
        finally:
            self.entries += later
        return ran

    def perform_one(
        self,
        cls: type[Job] | None = None,
        *,
        queue: str | None = None,
        due_only: bool = False,
        as_worker: bool = False,
    ) -> Any:
        """
        Run the first job that ``drain`` would run; return what its ``perform`` returns.

        Raises: AssertionError when there is none, and what the job raises unless ``as_worker``.
        """
        entry = self._next(cls, queue, due_only)
        if entry is None:
            raise AssertionError(f"There is no such job to perform.{self._told(cls)}")
        later: list[Entry] = []
        try:
            with use_outlet(self):
                return self._run(entry, later, as_worker=as_worker)
        finally:
            self.entries += later

    # -------------------------------------------------------------------------------

    def _told(self, job: type[Job] | None = None) -> str:
        return told(self.entries, job=job, duplicates=self.duplicates)

    def _next(self, cls: type[Job] | None, queue: str | None, due_only: bool) -> Entry | None:
        """Take the next job out of the box."""
        for index, entry in enumerate(self.entries):
            is_due = not due_only or entry.at is None or entry.at <= clock.now()
            if is_due and _is_of(entry, cls, queue):
                return self.entries.pop(index)
        return None

    def _run(self, entry: Entry, later: list[Entry], *, as_worker: bool) -> Any:
        payload = Payload.decode(entry.raw)
        goes_on = (SNOOZE, HELD, RETRY) if as_worker else (SNOOZE, HELD)
        outcome, result, again = run_here(payload, entry.lock, self._locks, goes_on)
        if again is not None:
            self.entries.append(again)
        if outcome is None:
            return result
        if outcome.error is not None and not as_worker:
            outcome.error.add_note(f"It was raised by {described(entry)}.")
            raise outcome.error
        if outcome.verb in (SNOOZE, RETRY):
            at = clock.now() + outcome.delay
            later.append(Entry(Payload.decode(outcome.raw), outcome.raw, at, entry.lock))
        elif outcome.verb == HELD:
            self.held.append(Payload.decode(outcome.raw))
        elif outcome.verb == BURY:
            self.dead.append(Payload.decode(outcome.raw))
        return result


def _is_of(entry: Entry, cls: type[Job] | None, queue: str | None = None) -> bool:
    """Return whether a job is of a class and in a queue, where those are given."""
    payload = entry.payload
    return (cls is None or payload.job_class == wire_name(cls)) and queue in (None, payload.queue)
