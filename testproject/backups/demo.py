"""The story of the demonstration: real work, real kills, and a proof that nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from django_jobqueue.connection import store
from testproject.backups.fleet import Fleet, Worker
from testproject.backups.jobs import BackupJob
from testproject.backups.journal import Journal, Running
from testproject.backups.models import Backup, Database
from testproject.backups.samples import make_databases
from testproject.backups.screen import Screen
from testproject.backups.verification import find_faults

#: Seconds between two looks at the work.
GLANCE = 0.05

#: Seconds without any change, beyond the lease, after which the demonstration gives up.
PATIENCE = 90.0

#: Seconds a worker may take to stop.
STOP_TIMEOUT = 40.0


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


@dataclass(slots=True)
class Outcome:
    """What happened. Counts are of databases unless they say otherwise."""

    databases: int = 0
    jobs: int = 0
    #: From the enqueueing until the queue was drained.
    seconds: float = 0.0
    #: One sentence a kill.
    kills: list[str] = field(default_factory=list)
    #: Jobs that ran when they were hit.
    hit: int = 0
    #: Jobs taken back from dead processes, as Redis counted them.
    recovered: int = 0
    #: Starts beyond the first of each job.
    duplicates: int = 0
    #: Names of the databases without a backup.
    lost: list[str] = field(default_factory=list)
    verified: int = 0
    #: What the restoring found, a sentence each.
    faults: list[str] = field(default_factory=list)
    exit_codes: dict[str, int | None] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What must not be, a sentence each; empty when all is well."""
        found = [f"{name} was not backed up" for name in self.lost]
        found += self.faults
        found += [
            f"{name} did not stop within {STOP_TIMEOUT:g} s"
            if code is None
            else f"{name} ended with exit code {code}"
            for name, code in self.exit_codes.items()
            if code != 0
        ]
        return found

    @property
    def table(self) -> list[tuple[str, str]]:
        """The summary, line by line."""
        codes = ", ".join(
            "none" if code is None else str(code) for code in self.exit_codes.values()
        )
        return [
            ("databases", str(self.databases)),
            ("jobs", str(self.jobs)),
            ("seconds", f"{self.seconds:.1f}"),
            ("kills", f"{len(self.kills)} (kill -9, {self.hit} jobs running)"),
            ("recovered", f"{self.recovered} (jobs taken back from the dead)"),
            ("duplicates", f"{self.duplicates} (extra starts)"),
            ("lost", str(len(self.lost))),
            ("verified", f"{self.verified} archives restored, {len(self.faults)} faults"),
            ("exit codes", codes),
        ]


class Demo:
    """One showing. ``outcome`` is filled as it goes on."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.plan = plan
        self.outcome = Outcome()
        self._screen = screen
        self._journal = Journal(plan.journal)
        self._fleet = Fleet(
            plan.folder,
            *("--concurrency", str(plan.concurrency)),
            *("--processes", str(plan.processes)),
            *("--queue", BackupJob.queue),
        )
        self._lease = float(settings.JOBQUEUE["LEASE"])

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
            self._enqueue()
            self._work()
            self.outcome.seconds = time.monotonic() - began
            self._count()
            self._verify()
            self._screen.say("Stopping the workers (SIGTERM) ...")
            self.outcome.exit_codes = self._fleet.stop(STOP_TIMEOUT)
        return self.outcome

    # Before ------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make the tables, bring Redis up, and write the databases that are to be saved."""
        plan = self.plan
        self._screen.say(f"Working in {plan.folder}")
        store().ping()
        call_command("migrate", verbosity=0, interactive=False)
        self._screen.begin("databases", plan.databases)
        paths = make_databases(plan.folder / "sources", plan.databases, plan.seed)
        rows = []
        for number, path in enumerate(paths, 1):
            rows.append(Database(name=path.stem, path=str(path)))
            self._screen.reach(number)
        Database.objects.bulk_create(rows)
        self.outcome.databases = plan.databases

    def _enqueue(self) -> None:
        keys = Database.objects.values_list("pk", flat=True)
        jids = BackupJob.perform_bulk([(pk,) for pk in keys])
        self.outcome.jobs = sum(1 for jid in jids if jid is not None)
        self._screen.say(f"Enqueued {self.outcome.jobs} jobs in bulk")

    # Meanwhile ---------------------------------------------------------------

    def _work(self) -> None:
        """Run all jobs; a third of the way kill one worker, half-way a child of the other."""
        total = self.plan.databases
        first, second = self._start(), self._start()
        third: Worker | None = None
        victim: Worker | None = None
        self._screen.begin("backups", total)
        watch = _Watch(self._lease + PATIENCE)
        while True:
            self._fleet.check()
            self._journal.read()
            done = Backup.objects.count()
            waiting = store().queues.sizes([BackupJob.queue])[BackupJob.queue]
            held = _claimed()
            remark = ""
            if victim is None and done < total and 3 * done >= total:
                victim = self._kill_group(first, second)
            elif victim is not None and third is None and 2 * done >= total:
                other = second if victim is first else first
                # With nothing left to take, there is nobody at work to hit.
                if self._kill_child(other) or not waiting:
                    third = self._start("in its place")
            if done == total and not waiting and not held:
                break
            if victim is not None and not waiting and held:
                remark = (
                    f"waiting for the lease of the killed process to end "
                    f"({self._lease:g} to {2 * self._lease:g} s)"
                )
            elif done < total and not waiting and not held:
                remark = f"waiting for retries: see {self.plan.folder}/runjobs-*.log"
            self._screen.reach(done, remark)
            if watch.is_stale((done, waiting, held, self._journal.begun.total())):
                self._screen.say(f"Nothing has changed for {watch.patience:g} s: giving up.")
                break
            time.sleep(GLANCE)
        self._screen.reach(Backup.objects.count())

    def _start(self, why: str = "") -> Worker:
        worker = self._fleet.start()
        self._screen.say(f"Started {worker.name} (process group {worker.group}) {why}".rstrip())
        return worker

    def _kill_group(self, *workers: Worker) -> Worker | None:
        """Kill the worker that has most to lose, if it is caught in the middle of jobs."""
        worker = max(workers, key=lambda one: len(self._journal.running(one.group)))
        worker.freeze()
        caught = self._caught(worker)
        if not caught:
            worker.thaw()
            return None
        worker.kill()
        self._note(
            f"kill -9 of {worker.name}, supervisor and children, with {len(caught)} jobs running",
            caught,
        )
        self._screen.say(
            f"  its jobs come back when its lease has ended, in {self._lease:g} to "
            f"{2 * self._lease:g} s"
        )
        return worker

    def _kill_child(self, worker: Worker) -> bool:
        """Kill the child of a worker that runs most jobs, if it is caught in the middle of them."""
        busy = [who.pid for who in self._journal.running(worker.group) if who.pid != worker.group]
        if not busy:
            return False
        pid = max(set(busy), key=busy.count)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            caught = self._caught(worker, pid)
            # A job that was hit before is let go: hit twice it would be a suspect,
            # which is another story than this one.
            if caught and all(self._journal.begun[who.database_id] == 1 for who in caught):
                os.kill(pid, signal.SIGKILL)
                self._note(
                    f"kill -9 of one child of {worker.name} (process {pid}), "
                    f"with {len(caught)} jobs running: its supervisor starts another",
                    caught,
                )
                return True
            os.kill(pid, signal.SIGCONT)
        return False

    def _caught(self, worker: Worker, pid: int | None = None) -> list[Running]:
        """Return what a frozen worker, or one child of it, is running."""
        # The signal may need a moment to reach every processor.
        time.sleep(GLANCE)
        self._journal.read()
        running = self._journal.running(worker.group)
        return [who for who in running if pid is None or who.pid == pid]

    def _note(self, sentence: str, caught: list[Running]) -> None:
        self.outcome.kills.append(sentence)
        self.outcome.hit += len(caught)
        self._screen.say(sentence)

    # After -------------------------------------------------------------------

    def _count(self) -> None:
        """Count from three witnesses: the journal, the database and Redis."""
        self._journal.read()
        begun = self._journal.begun
        self.outcome.duplicates = begun.total() - len(begun)
        # A counter that is not there has not counted anything yet.
        self.outcome.recovered = store().stats.counters().get("recovered", 0)
        missing = Database.objects.exclude(state=Database.State.DONE, backup__isnull=False)
        self.outcome.lost = list(missing.values_list("name", flat=True))

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


class _Watch:
    """Tell when nothing has changed for too long."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._seen: object = None
        self._since = time.monotonic()

    def is_stale(self, state: object) -> bool:
        now = time.monotonic()
        if state != self._seen:
            self._seen, self._since = state, now
        return now - self._since > self.patience
