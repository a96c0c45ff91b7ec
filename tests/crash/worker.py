"""
A whole worker process without its threads: a script has each of its duties done in turn.

It is wired as ``runjobs`` wires it, and joins and stops as ever. Only what would turn by
itself is turned by hand, so that the same life takes the same steps each time. This module
alone knows how to turn it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django_jobqueue import clock
from django_jobqueue.conf import Settings, get_settings
from django_jobqueue.connection import open_store
from django_jobqueue.scheduling.recovery import Recovery
from django_jobqueue.service import Service
from django_jobqueue.worker.chores import crash_policy
from django_jobqueue.worker.deaths import Deaths
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.launcher import Launcher
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.processor import Processor
from django_jobqueue.worker.routing import Routing, with_routing
from tests.crash.world import QUEUES
from tests.support.polling import wait_until

#: Threads, and async jobs at a time.
THREADS, ON_THE_LOOP = 3, 2

#: Seconds that go by between two rounds of the loop that claims and delivers: more than a
#: result may wait for company.
MOMENT = 0.02


class Time:
    """The clock of this process: it stands still, and is moved ahead by hand."""

    def __init__(self) -> None:
        self._now, self._monotonic = time.time(), time.monotonic()

    def hold(self) -> None:
        """Answer from here all that the package asks of its clock, in this process."""
        clock.now = lambda: self._now
        clock.monotonic = lambda: self._monotonic

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self._now += seconds
        self._monotonic += seconds


def threaded(identity: str) -> Launcher:
    """Return a worker process as it is, with all its threads. It works until it is killed."""
    settings = get_settings()
    options, routing = _options(settings)
    report = os.open(os.devnull, os.O_WRONLY)
    return Launcher(open_store(settings), settings, options, identity, -1, report, routing=routing)


def _options(settings: Settings) -> tuple[WorkerOptions, Routing | None]:
    order = QueueOrder(dict.fromkeys(QUEUES, 1), strict=True)
    return with_routing(
        WorkerOptions(
            queues=order,
            concurrency=THREADS,
            async_concurrency=ON_THE_LOOP,
            timeout=0.0,
            lease=settings.lease,
        )
    )


class Worker(Launcher):
    """One worker process whose loops turn when they are told to, by ``script``."""

    def __init__(self, identity: str, script: Callable[[Worker], None]) -> None:
        settings = get_settings()
        options, routing = _options(settings)
        self.time = Time()
        self.time.hold()
        self._script = script
        report = os.open(os.devnull, os.O_WRONLY)
        super().__init__(
            open_store(settings), settings, options, identity, -1, report, routing=routing
        )
        self._by_name = {service.name: service for service in self._services}

    def run(self) -> int:
        """Live by the script from the start to the stop; return the exit code."""
        with _standing_still():
            return super().run()

    def _work(self) -> None:
        self._script(self)
        self._hurry = True  # nobody turns while the stop would wait

    def pass_by(self, seconds: float) -> None:
        """Let time go by. What waits at Redis would have had its answer, and asks anew."""
        self._fetcher._bell.close()
        self.time.pass_by(seconds)

    # Duties -------------------------------------------------------------------------

    def tick(self, name: str) -> None:
        """Have one background duty done once."""
        self._by_name[name].tick()

    def beat(self) -> None:
        """Renew the lease, and write the record."""
        self.tick("heartbeat")

    def look_after(self) -> None:
        """Do every background duty once."""
        for name in self._by_name:
            self.tick(name)

    def bury_child(self, identity: str) -> None:
        """Do what a supervisor does when it has reaped a child."""
        deaths = Deaths(self._store, crash_policy(get_settings()), self._outage)
        deaths.identities.append(identity)
        deaths.settle()

    def look_for_the_lost(self) -> None:
        """Do what is done once an hour."""
        recovery = self._by_name["recovery"]
        assert isinstance(recovery, Recovery)
        recovery.adopt_orphans()

    def work(self, there_is_work: Callable[[], bool]) -> None:
        """Claim, run and deliver until nothing is there any more."""
        while there_is_work() or self._fetcher.holding():
            self.turn()
            self.run_jobs()
        self.turn(at_once=True)

    def claim(self) -> None:
        """Claim jobs, and start none of them."""
        while not self._fetcher.holding():
            self.turn()

    def turn(self, *, at_once: bool = False) -> None:
        """Let the fetcher do one round; ``at_once``: it does not wait for anything."""
        self.time.pass_by(MOMENT)
        if at_once:
            self._fetcher.wake()
        self._fetcher._turn()

    def run_jobs(self) -> None:
        """Run all jobs that were claimed: one after the other, and those on the loop."""
        lanes = self._fetcher.lanes
        lanes.threads.inbox.put(None)
        self._processors[0]._run()
        loop = lanes.loop
        if loop is not None:
            wait_until(
                lambda: all(held.ended is not None for held in list(loop.jobs)),
                30,
                "the end of the async jobs",
            )


@contextmanager
def _standing_still() -> Iterator[None]:
    """Let no thread of a worker begin, but that of the event loop."""
    owners: tuple[Any, ...] = (Service, Fetcher, Processor)
    starts = [owner.start for owner in owners]
    for owner in owners:
        owner.start = lambda self: None
    try:
        yield
    finally:
        for owner, start in zip(owners, starts, strict=True):
            owner.start = start
