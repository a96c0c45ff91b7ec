"""The story of the demonstration: real work, real disasters, and a proof that nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from django_jobqueue.client.results import BulkResult
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reconciliation.drift import drift
from testproject.backups.fleet import Fleet, Worker
from testproject.backups.incidents import flush_redis, kill_switch, throw
from testproject.backups.jobs import BackupJob, ScheduleBackups
from testproject.backups.journal import Journal, Running
from testproject.backups.models import Backup, Database
from testproject.backups.outcome import STOP_TIMEOUT, Outcome
from testproject.backups.patience import Stalled, Watch
from testproject.backups.samples import make_databases
from testproject.backups.screen import Screen
from testproject.backups.strikes import strike_child, strike_group
from testproject.backups.verification import find_faults

#: Seconds between two looks at the work; and where a look reads all jobs.
GLANCE = 0.02
LONG_GLANCE = 0.1

#: Seconds without any change, beyond the lease, after which the demonstration gives up.
PATIENCE = 90.0

#: The part of the databases that has arrived when each act begins.
FIRST_ACT, SECOND_ACT, LAST_ACT, END = 0.4, 0.7, 0.9, 1.0

#: The part that is done when a child is killed, when a worker is, and when the switch is thrown.
CHILD, GROUP, SWITCH = 0.25, 0.45, 0.65

#: Seconds for which the kill switch is on, and after which every process has seen it.
OFF_DUTY = 2.0
SEEN = 1.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be shown, and where. ``folder`` exists and is empty."""

    folder: Path
    databases: int = 200
    concurrency: int = 4
    processes: int = 2
    seed: int = 1

    @property
    def journal(self) -> Path:
        """The diary of all attempts."""
        return self.folder / "journal"

    @property
    def threads(self) -> int:
        """How many jobs two workers can run at once."""
        return 2 * self.processes * self.concurrency


class Demo:
    """One showing. ``outcome`` is filled as it goes on."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.plan = plan
        self.outcome = Outcome(databases=plan.databases)
        self._screen = screen
        self._journal = Journal(plan.journal)
        self._fleet = Fleet(
            plan.folder,
            *("--concurrency", str(plan.concurrency)),
            *("--processes", str(plan.processes)),
            *("--queue", BackupJob.queue),
            *("--queue", ScheduleBackups.queue),
        )
        self._paths: list[Path] = []
        self._arrived = 0
        self._done = 0
        self._watch = Watch(float(settings.JOBQUEUE["LEASE"]) + PATIENCE)

    def run(self) -> Outcome:
        """
        Tell the whole story; whatever happens, no worker outlives it.

        Raises:
            WorkerEnded: a worker ended that nobody had killed.
            EmbeddedServerUnavailable: there is no server to work with.
        """
        with self._fleet:
            self._prepare()
            began = time.monotonic()
            try:
                self._play()
            except Stalled as error:
                self._screen.say(str(error))
            self.outcome.seconds = time.monotonic() - began
            self._count()
            self._verify()
            self._screen.say("Stopping the workers (SIGTERM) ...")
            self.outcome.exit_codes = self._fleet.stop(STOP_TIMEOUT)
        return self.outcome

    def _play(self) -> None:
        """Show one disaster after the other, each as far as the work has come, and see it done."""
        self._start()
        self._start()
        self._screen.begin("backups", self.plan.databases)
        self._kill_child()
        self._kill_worker()
        self._flush()
        self._throw_switch()
        self._until(self._is_over, remark=self._remark)

    # Before ------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make the tables, bring Redis up, and write the databases that are to be saved."""
        plan = self.plan
        self._screen.say(f"Working in {plan.folder}")
        store().ping()
        call_command("migrate", verbosity=0, interactive=False)
        self._screen.begin("databases", plan.databases)
        for path in make_databases(plan.folder / "sources", plan.databases, plan.seed):
            self._paths.append(path)
            self._screen.reach(len(self._paths))

    # Meanwhile ---------------------------------------------------------------

    def _kill_child(self) -> None:
        """Kill one process of a worker, and wait until its jobs were taken back."""
        self._arrive(FIRST_ACT)
        hit = self._strike(CHILD, partial(strike_child, self._fleet.workers, self._journal))
        if hit is None:
            return
        worker, caught = hit
        self._note(
            f"kill -9 of one child of {worker.name} (process {caught[0].pid}), "
            f"with {len(caught)} jobs running: its supervisor starts another",
            caught,
        )
        began = time.monotonic()
        self._until(lambda: _recovered() >= len(caught))
        took = time.monotonic() - began
        self._screen.say(f"  {_recovered()} jobs were back in the queue after {took:.1f} s")

    def _kill_worker(self) -> None:
        """Kill a whole worker; its supervisor dies with it."""
        self._arrive(SECOND_ACT)
        hit = self._strike(GROUP, partial(strike_group, self._fleet.workers, self._journal))
        if hit is None:
            return
        worker, caught = hit
        self._note(
            f"kill -9 of {worker.name}, supervisor and children, with {len(caught)} jobs running",
            caught,
        )
        self._start("in its place")

    def _flush(self) -> None:
        """Lose all that is in Redis, and wait until every database that waits has a job again."""
        self.outcome.recovered = _recovered()
        waiting = Database.objects.filter(state=Database.State.PENDING).count()
        self.outcome.flushed = flush_redis()
        began = time.monotonic()
        self._screen.say(
            f"FLUSHALL of Redis: {self.outcome.flushed} keys are gone, with the jobs of "
            f"{waiting} databases that wait"
        )
        plan = ScheduleBackups().plan()
        self._until(lambda: not drift(plan).missing, every=LONG_GLANCE)
        self.outcome.healed = time.monotonic() - began
        if waiting:
            self._screen.say(
                f"  the workers saw it, and after {self.outcome.healed:.1f} s "
                f"{ScheduleBackups.__name__} had made all jobs again"
            )

    def _throw_switch(self) -> None:
        """Stop the job while it is enqueued and run, and let it go again."""
        self._until(lambda: self._done >= SWITCH * self.plan.databases or self._is_idle())
        # Within the second until all have seen the switch, they could empty the queue.
        store().queues.pause(BackupJob.queue)
        self._arrive(LAST_ACT)
        switch = kill_switch(BackupJob)
        throw(switch, on=True)
        began = time.monotonic()
        self._screen.say(
            f"The kill switch {switch} is on, with {self._waiting()} jobs in the queue"
        )
        self._until(lambda: time.monotonic() - began >= SEEN)
        store().queues.resume(BackupJob.queue)
        self.outcome.refused = self._arrive(END).disabled
        self._until(self._is_idle)
        self.outcome.held = _held()
        self._screen.say(f"  {self.outcome.held} jobs of the queue are held")
        self._until(lambda: time.monotonic() - began >= OFF_DUTY)
        throw(switch, on=False)
        began = time.monotonic()
        self._screen.say(f"The kill switch {switch} is off")
        self._until(lambda: not _held())
        self.outcome.released = self.outcome.held
        self.outcome.release_seconds = time.monotonic() - began
        self._screen.say(f"  the held jobs were released in {self.outcome.release_seconds:.1f} s")

    # What the acts are made of -------------------------------------------------

    def _start(self, why: str = "") -> Worker:
        worker = self._fleet.start()
        self._screen.say(f"Started {worker.name} (process group {worker.group}) {why}".rstrip())
        return worker

    def _arrive(self, share: float) -> BulkResult:
        """Let more databases come, until they are this part of all, and enqueue their jobs."""
        upto = round(share * self.plan.databases)
        paths = self._paths[self._arrived : upto]
        rows = Database.objects.bulk_create(
            [Database(name=path.stem, path=str(path)) for path in paths]
        )
        self._arrived = upto
        result = BackupJob.perform_bulk([(row.pk,) for row in rows])
        # A duplicate is one that the reconciler has enqueued between the two lines.
        enqueued = result.pushed + result.duplicates
        self.outcome.jobs += enqueued
        said = f"{result.disabled} refused" if result.disabled else f"{enqueued} enqueued in bulk"
        self._screen.say(f"Databases arrive: {len(paths)}; jobs: {said}")
        return result

    def _strike(
        self, share: float, strike: Callable[[], tuple[Worker, list[Running]] | None]
    ) -> tuple[Worker, list[Running]] | None:
        """Try to hit a process when this part of the work is done, or soon before it is over."""
        hit = None
        after = min(share * self.plan.databases, self._arrived - 2 * self.plan.threads)

        def is_struck() -> bool:
            nonlocal hit
            hit = strike() if self._done >= after else None
            return hit is not None

        self._until(lambda: is_struck() or self._is_idle())
        if hit is None:
            self._screen.say("There is too little to do: nobody was caught at work")
        return hit

    def _note(self, sentence: str, caught: list[Running]) -> None:
        self.outcome.kills.append(sentence)
        self.outcome.hit += len(caught)
        self._screen.say(sentence)

    def _until(
        self,
        condition: Callable[[], bool],
        *,
        remark: Callable[[], str] = str,
        every: float = GLANCE,
    ) -> None:
        """
        Look at the work, with ``every`` seconds in between, until something is so.

        Raises: Stalled, WorkerEnded.
        """
        self._look(remark)
        while not condition():
            time.sleep(every)
            self._look(remark)

    def _look(self, remark: Callable[[], str]) -> None:
        self._fleet.check()
        self._journal.read()
        self._done = Backup.objects.count()
        self._screen.reach(self._done, remark())
        state = (self._done, self._waiting(), _claimed(), _held(), self._journal.begun.total())
        self._watch.see(state)

    def _waiting(self) -> int:
        return store().queues.sizes([BackupJob.queue])[BackupJob.queue]

    def _is_idle(self) -> bool:
        """Tell whether nobody has anything to do, for the moment."""
        return not self._waiting() and not _claimed()

    def _is_over(self) -> bool:
        return self._done == self.plan.databases and self._is_idle() and not _held()

    def _remark(self) -> str:
        """Say why nothing happens."""
        if self._done == self._arrived or not self._is_idle():
            return ""
        if Database.objects.filter(state=Database.State.RUNNING).exists():
            return (
                f"waiting until the jobs of the killed worker count as dead "
                f"({settings.BACKUPS_STALE_AFTER:g} s) and {ScheduleBackups.__name__} comes"
            )
        return f"waiting for {ScheduleBackups.__name__}: see {self.plan.folder}/runjobs-*.log"

    # After -------------------------------------------------------------------

    def _count(self) -> None:
        """Count from two witnesses: the journal and the database."""
        self._journal.read()
        begun = self._journal.begun
        self.outcome.duplicates = begun.total() - len(begun)
        doubled = Database.objects.filter(pk__in=self._journal.doubled)
        self.outcome.doubled = list(doubled.values_list("name", flat=True))
        done = Database.objects.filter(state=Database.State.DONE, backup__isnull=False)
        saved = set(done.values_list("name", flat=True))
        self.outcome.lost = [path.stem for path in self._paths if path.stem not in saved]

    def _verify(self) -> None:
        """Restore every archive."""
        backups = Backup.objects.select_related("database")
        self._screen.begin("restored", len(backups))
        for number, backup in enumerate(backups, 1):
            faults = find_faults(backup)
            self.outcome.faults += faults
            self.outcome.verified += not faults
            self._screen.reach(number)


def _claimed() -> int:
    """Return the number of jobs that processes hold, living or dead."""
    claims = store().claims
    return sum(claims.count(identity) for identity in claims.leases())


def _recovered() -> int:
    """Return how many jobs were taken back from dead processes since the data began."""
    # A counter that is not there has not counted anything yet.
    return store().stats.counters().get("recovered", 0)


def _held() -> int:
    """Return how many jobs the kill switch holds."""
    return store().held.classes().get(wire_name(BackupJob), 0)
