"""
``FLUSHALL`` at random moments, with reconcilers on and workers killed beside it.

All that stands in Redis is lost again and again, and yet every row of the database ends done:
the queue is made of the rows anew each time. A flush counts when there were jobs to lose.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from django_jobqueue.payload import Payload
from django_jobqueue.store.store import Store
from tests.acceptance.site import LEASE, SOON
from tests.chaos.crew import await_work
from tests.chaos.ledger import Ledger
from tests.chaos.options import Options
from tests.chaos.report import Report, bound
from tests.healing.jobs import ChoreJob
from tests.healing.models import Chore
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.processes import RunJobs
from tests.support.server import RedisServer

WORKERS, CONCURRENCY = 2, 8

#: Flushes between two kills of a child.
KILL_EVERY = 10

#: Seconds within which the moment of a flush is drawn.
MOMENT = 0.9

#: Seconds between two looks at the queue.
LOOK = 0.25

SETTINGS = {
    "LEASE": LEASE,
    "RECONCILERS": {"tests.healing.jobs.ScheduleChores": {"every": 1}},
    "POISON_CRASHES": 1000,
}


@dataclass(slots=True)
class Samples:
    """What was seen of queue and table, again and again."""

    largest: int = 0
    #: How many jobs more than rows to do. Some are right: a row may be done while the
    #: reconciler that has read it is about to push it, and the slower the machine, the more.
    most_beyond: int = 0
    #: Rows that had two jobs in the queue at once.
    twins: int = 0


@dataclass(slots=True)
class Flushes:
    """Those that hit, the children that were killed between them, and how long it all took."""

    hits: int = 0
    kills: int = 0
    seconds: float = 0.0
    done_after: float = 0.0
    codes: list[int] = field(default_factory=list)


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Flush so many times while so many rows (``jobs``) are worked on, and report."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    rows = [Chore() for _ in range(options.jobs)]
    Chore.objects.bulk_create(rows, batch_size=500)
    store, journal = Store(server.url, timeout=10), Journal(directory / "journal")
    workers = [_worker(server, directory, journal) for _ in range(WORKERS)]
    flushes = Flushes()
    try:
        with _watched(store) as samples:
            _flush(server, store, workers, flushes, options)
            queue = [ChoreJob.queue]
            wait_until(lambda: not any(store.queues.sizes(queue).values()), SOON, "a drain")
        for worker in workers:
            await_work(worker)
            worker.term()
        flushes.codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.close()
        store.close()
    ledger = Ledger(journal)
    ledger.read()
    return _report(ledger, flushes, samples, options)


def _worker(server: RedisServer, directory: Path, journal: Journal) -> RunJobs:
    return RunJobs(
        "--concurrency",
        str(CONCURRENCY),
        url=server.url,
        prefix="",
        directory=directory,
        journal=journal,
        overrides=SETTINGS,
        env={"JOBQUEUE_TEST_DATABASE": str(connection.settings_dict["NAME"])},
        settings="tests.healing.settings",
    )


def _flush(
    server: RedisServer, store: Store, workers: list[RunJobs], flushes: Flushes, options: Options
) -> None:
    """Flush at random moments until it has hit often enough; then wait for the last row."""
    chance, began = random.Random(options.seed), time.monotonic()
    with server.client() as client:
        while flushes.hits < options.faults and _rows_to_do():
            # Not a wait for anything: the moment is what is drawn.
            time.sleep(chance.uniform(0, MOMENT))
            claimed = any(map(store.claims.count, store.claims.leases()))
            if not (claimed or store.queues.sizes([ChoreJob.queue])[ChoreJob.queue]):
                continue
            client.flushall()
            flushes.hits += 1
            if flushes.hits % KILL_EVERY == 0:
                with suppress(AssertionError):  # the child is being replaced just now
                    chance.choice(workers).kill9_child()
                    flushes.kills += 1
    flushes.seconds = time.monotonic() - began
    patience = 4 * SOON
    with suppress(AssertionError):  # what is not done by then, the report tells
        wait_until(lambda: not _rows_to_do(), patience, "the last rows")
    flushes.done_after = time.monotonic() - began


@contextmanager
def _watched(store: Store) -> Iterator[Samples]:
    """Compare the jobs on their way with the rows that need one, as long as the block runs."""
    samples, over = Samples(), threading.Event()

    def watch() -> None:
        try:
            while not over.wait(LOOK):
                # In this order: rows that need a job only get fewer.
                rows = _rows_to_do()
                queue = store.queues.page(ChoreJob.queue, 0, 100_000)
                queued = Counter(Payload.decode(raw).args[0] for raw in queue)
                samples.largest = max(samples.largest, len(queue))
                samples.most_beyond = max(samples.most_beyond, len(queue) - rows)
                samples.twins = max(samples.twins, len(queue) - len(queued))
        finally:
            connection.close()

    thread = threading.Thread(target=watch, name="queue-watch", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def _rows_to_do() -> int:
    return Chore.objects.exclude(state="done").count()


def _report(ledger: Ledger, flushes: Flushes, samples: Samples, options: Options) -> Report:
    made = Report(f"flush: {options.faults} FLUSHALL over {options.jobs} rows, reconcilers on")
    enough = "as many as asked for: the work was not done before"
    made.promise("flushes that hit", flushes.hits, enough, flushes.hits == options.faults)
    made.tell("children killed beside", flushes.kills)
    made.tell("flushed for", f"{flushes.seconds:.0f} s")
    made.tell("rows", options.jobs)
    undone = _rows_to_do()
    made.promise("rows not done", undone, "none", undone == 0)
    made.tell("  losses a fault", bound(undone, flushes.hits))
    made.tell("all done after", f"{flushes.done_after:.0f} s")
    worked = len(ledger.finishes)
    made.promise("rows worked on", worked, "every one, by a job", worked == options.jobs)
    made.tell("begun again", ledger.double_starts().total())
    twice, most = ledger.double_finishes().total(), flushes.kills * CONCURRENCY
    only = f"only what ran when a child was killed: {most}"
    made.promise("worked on twice", twice, only, twice <= most)
    made.tell("longest queue", samples.largest)
    made.tell("  beyond what was to do", samples.most_beyond)
    never = "no row ever has two jobs in the queue"
    made.promise("twins in the queue", samples.twins, never, not samples.twins)
    bad = [code for code in flushes.codes if code]
    made.promise("exit codes", bad or 0, "whoever is asked to stop ends with 0", not bad)
    return made
