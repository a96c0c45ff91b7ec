"""
Flush all of Redis at random moments, kill workers beside it: every row ends done all the same.

``JOBQUEUE_FLUSHES`` (30), ``JOBQUEUE_FLUSH_ROWS`` (1500) and ``JOBQUEUE_FLUSH_SEED`` say how
much of it and which; the seed is printed. A flush counts when there were jobs to lose.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db import connection

from django_jobqueue.store.store import Store
from tests.acceptance.site import LEASE, SOON, tell
from tests.healing.jobs import ChoreJob
from tests.healing.models import Chore
from tests.support.databases import database_of_workers
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.processes import RunJobs
from tests.support.server import RedisServer

__all__ = ["database_of_workers"]

FLUSHES = int(os.environ.get("JOBQUEUE_FLUSHES", "30"))
ROWS = int(os.environ.get("JOBQUEUE_FLUSH_ROWS", "1500"))
SEED = int(os.environ.get("JOBQUEUE_FLUSH_SEED", "0")) or int.from_bytes(os.urandom(4))

WORKERS, CONCURRENCY = 2, 8

#: Flushes between two kills of a child.
KILL_EVERY = 10

RECONCILERS = {"tests.healing.jobs.ScheduleChores": {"every": 1}}


@dataclass(slots=True)
class Samples:
    """What was seen of queue and table, one after the other, all the time."""

    largest: int = 0
    #: Queue lengths that were larger than what had to be done, and what ran: (queue, rows).
    floods: list[tuple[int, int]] = field(default_factory=list)


def rows_to_do() -> int:
    return Chore.objects.exclude(state="done").count()


def watch(store: Store, samples: Samples, is_over: Callable[[], bool]) -> None:
    """Compare the jobs on their way with the rows that need one, until it is over."""
    try:
        while not is_over():
            # In this order: rows that need a job only get fewer.
            rows = rows_to_do()
            queued = store.queues.sizes([ChoreJob.queue])[ChoreJob.queue]
            samples.largest = max(samples.largest, queued)
            # A job that a worker held when Redis was flushed may do a row just when the
            # reconciler has read it: as many may be too many as can run.
            if queued > rows + WORKERS * CONCURRENCY:
                samples.floods.append((queued, rows))
            time.sleep(0.01)
    finally:
        connection.close()


@pytest.mark.timeout(240 + 3 * FLUSHES)
def test_whatever_is_flushed_and_killed_every_row_ends_done(
    private_redis: Callable[..., RedisServer],
    database_of_workers: dict[str, str],
    tmp_path: Path,
) -> None:
    server, chance = private_redis(appendonly="no"), random.Random(SEED)
    store = Store(server.url, timeout=10)
    journal = Journal(tmp_path / "journal")
    Chore.objects.bulk_create([Chore() for _ in range(ROWS)], batch_size=500)
    workers = [
        RunJobs(
            *("--concurrency", str(CONCURRENCY)),
            url=server.url,
            prefix="",
            directory=tmp_path,
            journal=journal,
            overrides={"LEASE": LEASE, "RECONCILERS": RECONCILERS, "POISON_CRASHES": 1000},
            env=database_of_workers,
            settings="tests.healing.settings",
        )
        for _ in range(WORKERS)
    ]
    samples, over, flushes, kills = Samples(), threading.Event(), 0, 0
    watcher = threading.Thread(target=watch, args=(store, samples, over.is_set), daemon=True)
    watcher.start()
    try:
        began = time.monotonic()
        while flushes < FLUSHES and rows_to_do():
            # Not a wait for anything: the moment is what is drawn.
            threading.Event().wait(chance.uniform(0, 0.9))
            if store.queues.sizes([ChoreJob.queue])[ChoreJob.queue] or any(
                map(store.claims.count, store.claims.leases())
            ):
                with server.client() as client:
                    client.flushall()
                flushes += 1
                if flushes % KILL_EVERY == 0:
                    with suppress(AssertionError):  # the child is being replaced just now
                        chance.choice(workers).kill9_child()
                        kills += 1
        flushing = time.monotonic() - began
        wait_until(lambda: not rows_to_do(), 4 * SOON, lambda: f"the last {rows_to_do()} rows")
        done = time.monotonic() - began
        wait_until(lambda: not any(store.queues.sizes([ChoreJob.queue]).values()), SOON, "a drain")
    finally:
        over.set()
        watcher.join()
        for worker in workers:
            worker.term()
        codes = [worker.wait() for worker in workers]
        for worker in workers:
            worker.close()
        store.close()
    starts, finishes = journal.starts, journal.finishes
    tell(
        f"\nseed {SEED}: {flushes} flushes and {kills} kills in {flushing:.0f} s, all {ROWS} rows "
        f"done after {done:.0f} s; {starts.total() - len(starts)} rows started again, "
        f"{finishes.total() - len(finishes)} done twice; the queue held {samples.largest} at most"
    )
    assert flushes == FLUSHES, "the work was done too early to be flushed so often"
    assert len(finishes) == ROWS
    # Nothing is left over, and nothing was ever there that nobody needs.
    assert samples.floods == []
    assert codes == [0] * WORKERS
    # Who ran when a child was killed runs again; nobody else is done twice.
    assert finishes.total() - len(finishes) <= kills * CONCURRENCY
    journal.close()
