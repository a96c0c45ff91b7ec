"""Sentinel replaces the master under load: lost is what Redis had not replicated, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from django_jobqueue.exceptions import StoreError
from django_jobqueue.store.store import Store
from tests.acceptance.site import LEASE, SOON, count_lines, payload, tell
from tests.conftest import StartRunJobs
from tests.jobsite.jobs import NoopJob
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.sentinel import Sentinels

PREFIX = "t-failover:"

#: Milliseconds that a push waits for the word of the replica.
WORD = 100

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
                        ("LPUSH", keys.queue("default"), payload(NoopJob, ident).encode()),
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


@pytest.mark.parametrize("fail_over", [replace, kill])
def test_a_failover_loses_only_what_was_not_replicated_and_no_worker_restarts(
    sentinels: Sentinels,
    run_jobs: StartRunJobs,
    journal: Journal,
    fail_over: Callable[[Sentinels], None],
) -> None:
    worker = run_jobs("--concurrency", "4", url=sentinels.url, prefix=PREFIX, LEASE=LEASE)
    worker.wait_for_line(" threads on ")
    children = worker.children()
    with Load(sentinels.admin_url) as load:
        load.await_replicated()
        fail_over(sentinels)
        load.await_accepted()
    missing = set(load.replicated)

    def is_done() -> bool:
        missing.difference_update(journal.finishes)
        return not missing

    wait_until(is_done, SOON, lambda: f"{len(missing)} replicated jobs\n{worker.output()[-3000:]}")
    with closing(Store(sentinels.url, prefix=PREFIX)) as store:
        wait_until(lambda: not store.queues.sizes(["default"])["default"], SOON, "an empty queue")
    lost = set(load.accepted) - journal.finishes.keys()
    repeated = sum(journal.starts.values()) - len(journal.starts)
    tell(
        f"{len(load.accepted)} jobs accepted, {len(load.replicated)} known to be replicated, "
        f"{load.refused} refused; {len(lost)} lost, {repeated} started again"
    )
    assert not lost.intersection(load.replicated)
    assert load.refused or fail_over is replace  # a kill is felt
    assert worker.children() == children
    assert count_lines(worker.output(), "Traceback", "died") == [0, 0]
    worker.term()
    assert worker.wait() == 0, worker.output()
