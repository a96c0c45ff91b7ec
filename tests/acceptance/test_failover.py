"""Sentinel replaces the master under load: lost is what Redis had not replicated, and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from django_jobqueue.exceptions import StoreError
from django_jobqueue.store.store import Store
from tests.acceptance.site import LEASE, SOON, count_lines, payload, tell
from tests.conftest import StartRunJobs
from tests.healing.models import Chore
from tests.jobsite.jobs import SleepJob
from tests.support import sql_settings
from tests.support.databases import database_of_workers
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.sentinel import Sentinels

__all__ = ["database_of_workers"]

pytestmark = pytest.mark.skipif(
    sql_settings.engine_name() != "sqlite", reason="the database takes no part in it"
)

PREFIX = "t-failover:"

#: Milliseconds that a push waits for the word of the replica: there may be none any more.
WORD = 20

#: Seconds of one job: some run at every moment.
LENGTH = 0.02

#: Rows that need a job: some before, some in the middle of it, some after.
ROWS = 40

RECONCILERS = {"tests.healing.jobs.ScheduleChores": {"every": 1}}

#: Jobs of each part of the test.
SHARE = 100


class Load:
    """
    Pushes jobs, one after the other, for as long as the test lasts.

    ``accepted`` are those that a master has taken, ``replicated`` those of them that
    its replica had before the next one was pushed.
    """

    def __init__(self, url: str) -> None:
        self._store = Store(url, prefix=PREFIX)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self.accepted: list[str] = []
        self.replicated: list[str] = []
        self.refused = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Push no more. Idempotent."""
        self._stop.set()
        self._thread.join()
        self._store.close()

    def await_accepted(self) -> None:
        """Return when a master has taken a further share of jobs."""
        self._await_more(self.accepted)

    def await_replicated(self) -> None:
        """Return when master and replica have a further share of jobs."""
        self._await_more(self.replicated)

    def _await_more(self, jobs: list[str]) -> None:
        wanted = len(jobs) + SHARE
        wait_until(
            lambda: len(jobs) >= wanted,
            SOON,
            lambda: f"{wanted} jobs, not {len(jobs)}; {self.refused} refused",
        )

    def _push(self) -> None:
        keys, number = self._store.keys, 0
        while not self._stop.wait(0.005):
            number += 1
            ident = f"job{number}"
            try:
                # On one connection: the word is that on this very push.
                *_, replicas = self._store._link.pipeline(
                    [
                        ("LPUSH", keys.queue("default"), payload(SleepJob, ident, LENGTH).encode()),
                        ("SADD", keys.queues, "default"),
                        ("WAIT", 1, WORD),
                    ]
                )
            except StoreError:
                self.refused += 1
                continue
            self.accepted.append(ident)
            if replicas:
                self.replicated.append(ident)


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    with Sentinels() as made:
        yield made


def replace(sentinels: Sentinels) -> None:
    """Have a Sentinel replace a master that is well, and takes writes for some seconds more."""
    sentinels.fail_over()


def kill(sentinels: Sentinels) -> None:
    """Kill the master, and wait until it is replaced."""
    killed = sentinels.master
    killed.kill9()
    sentinels.await_other(killed)


def add_rows() -> None:
    """Have work that nobody pushes: it is there whatever becomes of Redis."""
    Chore.objects.bulk_create([Chore() for _ in range(ROWS)])


@pytest.mark.parametrize("fail_over", [replace, kill])
def test_a_failover_loses_only_what_was_not_replicated_and_no_worker_restarts(
    sentinels: Sentinels,
    run_jobs: StartRunJobs,
    database_of_workers: dict[str, str],
    journal: Journal,
    fail_over: Callable[[Sentinels], None],
) -> None:
    add_rows()
    worker = run_jobs(
        *("--concurrency", "8"),
        url=sentinels.url,
        prefix=PREFIX,
        env=database_of_workers,
        settings="tests.healing.settings",
        LEASE=LEASE,
        RECONCILERS=RECONCILERS,
    )
    worker.wait_for_line(" threads on ")
    children = worker.children()
    with Load(sentinels.admin_url) as load:
        load.await_replicated()
        long_done = set(journal.finishes)
        wait_until(lambda: len(journal.finishes) > len(long_done) + SHARE, SOON, "their results")
        add_rows()
        began = time.monotonic()
        fail_over(sentinels)
        replaced = time.monotonic()
        load.await_accepted()
        fresh = load.accepted[-1]
        wait_until(lambda: fresh in journal.finishes, SOON, "a job of the new master")
        took = time.monotonic() - began
        add_rows()
    missing = set(load.replicated)

    def is_done() -> bool:
        missing.difference_update(journal.finishes)
        return not missing

    wait_until(is_done, SOON, lambda: f"{len(missing)} replicated jobs\n{worker.output()[-3000:]}")
    # What is lost with Redis comes back where a row says that it is needed.
    to_do = Chore.objects.exclude(state="done")
    wait_until(lambda: not to_do.count(), SOON, lambda: f"the last {to_do.count()} rows")
    with closing(Store(sentinels.url, prefix=PREFIX)) as store:
        wait_until(lambda: not store.queues.sizes(["default"])["default"], SOON, "an empty queue")
    lost = set(load.accepted) - journal.finishes.keys()
    starts = journal.starts
    repeated = {ident for ident, count in starts.items() if count > 1}
    tell(
        f"{len(load.accepted)} jobs accepted, {len(load.replicated)} known to be replicated, "
        f"{load.refused} refused; {len(lost)} lost, {len(repeated)} started again; another master "
        f"after {replaced - began:.1f} s, and a job of it done after {took:.1f} s"
    )
    assert not lost.intersection(load.replicated)
    assert took < 30
    # In flight was what had no result yet that the replica knew of.
    assert not repeated.intersection(long_done)
    assert load.refused or fail_over is replace  # a kill is felt
    assert worker.children() == children
    assert count_lines(worker.output(), "Traceback", "died") == [0, 0]
    worker.term()
    assert worker.wait() == 0, worker.output()
