"""One worker process, from its start to its last act."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading

from django_jobqueue import clock, databases, log
from django_jobqueue.client.client import client_chain
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import (
    BootError,
    StoreError,
    StoreUnavailable,
)
from django_jobqueue.scheduling.poller import Poller
from django_jobqueue.scheduling.recovery import Recovery
from django_jobqueue.service import Outage, Service
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.store import Store
from django_jobqueue.switches.watcher import load as load_switches
from django_jobqueue.worker.chores import chores, crash_policy, tell_of_poison
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.exit_codes import ExitCode
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.heartbeat import Heartbeat
from django_jobqueue.worker.job_loop import JobLoop
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.limits import Limits
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.orders import DONE, DUMP, HURRY, QUIET, READY, STOP, WORN, Orders
from django_jobqueue.worker.os_signals import SignalPipe, stacks
from django_jobqueue.worker.processor import Processor
from django_jobqueue.worker.routing import Routing, with_routing
from django_jobqueue.worker.tracker import Tracker
from django_jobqueue.worker.vitals import State, Vitals

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds for the last delivery while Redis is away.
LAST_TRIES = 5.0

#: Seconds beyond that for a call that was under way: its socket gives up after as long.
GIVING_UP = 0.5

#: Seconds that cancelled async jobs have for their last words.
CANCELLING = 2.0

#: Seconds between two looks at what a stopping worker waits for.
GLANCE = 0.05

#: The same for one that works: it only looks whether it has reached a limit.
LOOK = 1.0

#: Seconds between two switches of Python's threads: jobs that compute must not
#: keep the fetcher from its socket for the 5 ms that are the default.
SWITCH = 0.001


class Launcher:
    """
    Wires one worker process together and runs it until it is told to stop.

    ``control`` is readable when the supervisor says something, at its end when
    the supervisor is gone; ``report`` is where the supervisor listens. ``vitals``
    is where to show that it is well, if anybody looks.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        options: WorkerOptions,
        identity: str,
        control: int,
        report: int,
        vitals: Vitals | None = None,
        routing: Routing | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._identity = identity
        self._report = report
        self._stopping = threading.Event()
        self._hurry = False
        self._signals = SignalPipe(
            [signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGTTIN]
        )
        self._orders = Orders(self._signals, control, "supervisor")
        # Ctrl-C reaches the whole group; the supervisor passes it on in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._vitals = vitals
        self._limits = Limits(options.max_jobs, options.max_memory, self._signals.wake)
        self._is_worn = False
        self._outage = outage = Outage()
        self._lease = Lease(options.lease)
        self._fetcher = Fetcher(
            store.dedicated(), identity, options, self._lease, outage, self._limits.ran, routing
        )
        tracker = Tracker()
        executor = Executor(
            settings, self._stopping.is_set, start_lock=self._start_lock, tracker=tracker
        )
        self._processors = [
            Processor(number, self._fetcher, executor, self._lease, self._stopping.is_set)
            for number in range(options.concurrency)
        ]
        self._loop: JobLoop | None = None
        lane = self._fetcher.lanes.loop
        if lane is not None:
            self._loop = JobLoop(lane, self._fetcher, executor, self._lease)
            for name in executor.blocking_middleware():
                logger.warning("%s is not async_capable: each async job holds a thread", name)
        self._poller = Poller(
            store.dedicated(), identity, client_chain(), outage, unit=settings.timestamps
        )
        self._heartbeat = Heartbeat(
            store.dedicated(), identity, options, self._lease, self._fetcher, outage,
            self._signals.send, tracker,
        )  # fmt: skip
        self._services: list[Service] = [
            self._heartbeat,
            self._poller,
            Recovery(
                store.dedicated(), crash_policy(settings), options.lease,
                lambda: self._lease.unbroken_for, outage, tell_of_poison,
            ),
            *chores(store.dedicated(), settings, outage, burst=options.burst),
        ]  # fmt: skip

    def _start_lock(self, lock: Lock, release: bool) -> None:
        """Tell Redis that a unique job starts. The job goes on without: its lock runs out."""
        try:
            self._store.locks.start(lock, release=release)
        except StoreError as error:
            logger.warning("the lock of jid=%s stays until it runs out: %s", lock.jid, error)

    def run(self) -> int:
        """
        Work until told to stop, or with ``burst`` until there is nothing to do.

        Returns the exit code. Raises: BootError when the process cannot start.
        """
        sys.setswitchinterval(SWITCH)
        load_switches()
        try:
            if not self._store.claims.join(self._identity, self._options.lease):
                raise BootError(f"identity already live: {self._identity}")
            for processor in self._processors:
                processor.start()
            if self._loop is not None:
                self._loop.start()
            for service in self._services:
                service.start()
            self._fetcher.start()
        except RuntimeError as error:
            raise BootError(
                f"a thread cannot be started ({error}): lower --concurrency "
                f"{self._options.concurrency} or raise the limit of processes"
            ) from error
        with contextlib.suppress(BrokenPipeError):  # the supervisor was killed
            os.write(self._report, READY)
        logger.info(
            "worker %s runs %d threads on %s",
            self._identity, self._options.concurrency, ", ".join(self._options.queues.names),
        )  # fmt: skip
        if self._loop is not None:
            logger.info("and up to %d async jobs at a time", self._options.async_concurrency)
        self._limits.begin()
        self._work()
        return self._stop()

    def _work(self) -> None:
        """Wait for orders until it is time to stop."""
        busy = self._limits.are_set or self._vitals is not None
        pause = GLANCE if self._options.burst else LOOK if busy else 5.0
        while not self._stopping.is_set():
            self._listen(pause)
            if self._options.burst and self._is_drained():
                self._stopping.set()
            else:
                self._mind_limits()

    def _mind_limits(self) -> None:
        """
        Ask once for a successor when a limit is reached, and work on until told to go.

        The supervisor lets one go at a time, and not in an outage. What is quiet
        stays: the successor would not be.
        """
        if self._is_worn or self._fetcher.is_quiet or self._outage.since is not None:
            return
        limit = self._limits.reached()
        if limit:
            self._is_worn = True
            logger.info("worker %s %s: another is to take its place", self._identity, limit)
            with contextlib.suppress(BrokenPipeError):  # the supervisor was killed
                os.write(self._report, WORN)

    def _is_drained(self) -> bool:
        return (
            self._fetcher.idle.is_set()
            and (self._poller.nothing_due or not self._poller.leads)
            and self._fetcher.holding() == 0
        )

    def _listen(self, timeout: float) -> None:
        """Act on signals and on what the supervisor says, for at most ``timeout`` seconds."""
        self._show()
        select.select(self._orders.descriptors, [], [], timeout)
        for order in self._orders.take():
            self._obey(order)

    def _obey(self, order: bytes) -> None:
        if order == STOP:
            self._stopping.set()
        elif order == HURRY:
            self._stopping.set()
            self._hurry = True
        elif order == QUIET:
            logger.info("quiet: no more jobs are taken")
            self._fetcher.quiet()
        elif order == DUMP:
            logger.warning("what every thread is doing:\n%s", stacks())
            if self._loop is not None:
                logger.warning("what async jobs wait for:\n%s", self._loop.stacks())

    def _show(self) -> None:
        """Show that this thread turns, and how the others do."""
        if self._vitals is None:
            return
        if self._stopping.is_set():
            state = State.STOPPING
        elif self._fetcher.is_quiet:
            state = State.QUIET
        else:
            state = State.WORKING if self._outage.since is None else State.AWAY
        self._vitals.show(
            state,
            clock.monotonic(),
            turned_at=min(self._fetcher.turned_at, self._heartbeat.turned_at),
            served_at=self._fetcher.served_at,
        )

    def _stop(self) -> int:
        """Let running jobs end, deliver every result, give the rest back. Returns the exit code."""
        self._fetcher.quiet()
        waiting = self._fetcher.running()
        if waiting:
            logger.info("stopping: %d job(s) run, %g s to end", len(waiting), self._options.timeout)
        began = clock.monotonic()
        while self._fetcher.holding() and not self._hurry:
            waited = clock.monotonic() - began
            # Without a running job only results are left, and Redis does not take them.
            if waited >= (self._options.timeout if self._fetcher.running() else LAST_TRIES):
                break
            self._listen(GLANCE)
        for service in self._services[1:]:
            service.stop()
        last = clock.monotonic() + LAST_TRIES
        if self._loop is not None and self._fetcher.running():
            self._loop.cancel(CANCELLING)
        self._fetcher.close()
        # The heartbeat must not write a record again after we have left. Both are waited for
        # at once: where Redis is silent, each hangs until its socket gives up.
        self._heartbeat.stop()
        if not self._fetcher.join(max(0.0, last + GIVING_UP - clock.monotonic())):
            logger.error("the fetcher hangs; its jobs are left to recovery")
            left = max(self._fetcher.holding(), 1)  # it may hang in a claim
        else:
            ended = self._heartbeat.join(max(0.0, last - clock.monotonic()))
            left = self._fetcher.deliver_last(max(last, clock.monotonic() + 1.0))
            if ended and not left:
                self._heartbeat.finish()
        if left:
            logger.error("stopped; %d jobs left to recovery", left)
            return ExitCode.LEFT
        logger.info("stopped")
        return ExitCode.OK


def run_child(
    store: Store,
    settings: Settings,
    options: WorkerOptions,
    identity: str,
    control: int,
    report: int,
    vitals: Vitals | None = None,
) -> int:
    """Run a worker process that was just forked, and return its exit code."""
    options, routing = with_routing(options)
    databases.ready_pools(options.concurrency + options.async_concurrency)
    log.identify(identity)
    try:
        code = Launcher(store, settings, options, identity, control, report, vitals, routing).run()
    except (BootError, StoreError) as error:
        logger.error("the worker cannot start: %s", error)
        return ExitCode.UNREACHABLE if isinstance(error, StoreUnavailable) else ExitCode.FAULT
    with contextlib.suppress(BrokenPipeError):  # the supervisor was killed
        os.write(report, DONE)
    return code
