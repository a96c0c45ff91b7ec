"""
The same experiment on another job system: its worker is killed while jobs run.

Nothing is promised for others: what is lost is told, and is no failure of the command.
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import PEERS, Peer
from tests.chaos.kill import LENGTH
from tests.chaos.kills import MOMENT, send
from tests.chaos.ledger import Ledger
from tests.chaos.options import Options
from tests.chaos.report import Report, bound
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.processes import Process
from tests.support.server import RedisServer

CONCURRENCY = 10

#: Seconds within which a new worker must have begun with a job: some start slowly.
START = 60.0

#: Jobs that are pushed when a worker has none left to be killed with.
SUPPLY = 100


@dataclass(slots=True)
class Victim:
    """One peer's worker after the other, each killed while jobs run, and their jobs."""

    peer: Peer
    url: str
    directory: Path
    chance: random.Random
    journal: Journal
    ledger: Ledger
    idents: list[str] = field(default_factory=list)
    #: How many jobs ran at each kill.
    caught: list[int] = field(default_factory=list)
    #: Starts without an end that earlier kills have left behind.
    left: int = 0

    def push(self, count: int) -> None:
        """Push so many jobs."""
        fresh = [f"job{len(self.idents) + number}" for number in range(count)]
        self.peer.push(self.url, [(ident, LENGTH) for ident in fresh])
        self.idents += fresh

    def start(self) -> Process:
        """Start a worker."""
        command, env = self.peer.worker(self.url, self.journal.path, concurrency=CONCURRENCY)
        log_path = self.directory / f"{self.peer.name}-{len(self.caught)}.log"
        return Process(command, log_path, env)

    def kill(self, worker: Process) -> None:
        """Kill the worker and all its processes at a moment at which jobs run."""
        wait_until(lambda: self._try_to_kill(worker), START, "a running job to be killed")

    def _try_to_kill(self, worker: Process) -> bool:
        self.ledger.read()
        if not self.ledger.missing(self.idents):
            self.push(SUPPLY)
        time.sleep(self.chance.uniform(0, MOMENT))
        members = worker.members()
        send(members, signal.SIGSTOP)
        self.ledger.read()
        running = self.ledger.running() - self.left
        if running <= 0:
            send(members, signal.SIGCONT)
            return False
        worker.kill9_group()
        self.ledger.read()
        self.left = self.ledger.running()
        self.caught.append(running)
        return True

    def finish(self, patience: float) -> None:
        """Wait for the last jobs, until nothing has happened for so many seconds."""
        deadline, before = time.monotonic() + patience, -1
        while time.monotonic() < deadline:
            self.ledger.read()
            if not self.ledger.missing(self.idents):
                return
            if self.ledger.starts.total() != before:
                before = self.ledger.starts.total()
                deadline = time.monotonic() + patience
            time.sleep(0.2)


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Kill the worker of a peer so many times, wait for what comes back, and report."""
    peer = PEERS[options.peer or ""]
    peer.prepare()
    journal = Journal(directory / "journal")
    journal.path.touch()
    chance, ledger = random.Random(options.seed), Ledger(journal)
    victim = Victim(peer, server.url, directory, chance, journal, ledger)
    for _ in range(options.faults):
        victim.push(max(1, options.jobs // options.faults))
        with victim.start() as worker:
            victim.kill(worker)
    victim.push(max(0, options.jobs - len(victim.idents)))
    with victim.start():
        victim.finish(options.patience)
    return _report(victim, options)


def _report(victim: Victim, options: Options) -> Report:
    ledger, kills = victim.ledger, len(victim.caught)
    made = Report(f"kill, of {victim.peer.versions()}")
    made.tell("settings", victim.peer.settings)
    made.tell("kills that hit", kills)
    made.tell("  jobs running at the kills", sum(victim.caught))
    made.tell("jobs", len(victim.idents))
    lost = len(ledger.missing(victim.idents))
    made.tell("lost", lost)
    made.tell("  losses a fault", bound(lost, kills))
    made.tell("double starts", ledger.double_starts().total())
    made.tell("double completions", ledger.double_finishes().total())
    made.note(
        "A kill is kill -9 of the worker and all its processes, while at least one job has begun "
        f"and not ended. Lost is what had not ended {options.patience:g} s after the last sign of "
        "life."
    )
    return made
