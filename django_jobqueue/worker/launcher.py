"""One worker process, from its start to its last act."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Collection

from django.db import close_old_connections, connections

from django_jobqueue import clock
from django_jobqueue.client.client import client_chain
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import (
    BootError,
    PoisonPill,
    StoreError,
    StoreUnavailable,
    UnknownJob,
)
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, printable
from django_jobqueue.reconciliation.pairs import cooldown_of, reconcilers_of, timetable_of
from django_jobqueue.scheduling.epoch import EpochWatch
from django_jobqueue.scheduling.poller import Poller
from django_jobqueue.scheduling.recovery import CrashPolicy, Recovery
from django_jobqueue.scheduling.releaser import Releaser
from django_jobqueue.scheduling.ticker import Ticker
from django_jobqueue.service import Outage, Service
from django_jobqueue.signals import job_died
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.store import Store
from django_jobqueue.switches.watcher import Watcher
from django_jobqueue.switches.watcher import load as load_switches
from django_jobqueue.worker.executor import Executor, announce
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.heartbeat import Heartbeat
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.os_signals import SignalPipe, stacks
from django_jobqueue.worker.processor import Processor

logger = logging.getLogger("django_jobqueue.worker")

#: Exit codes of a worker and of ``runjobs``.
EXIT_OK = 0
EXIT_FAULT = 1
EXIT_LEFT = 3
EXIT_UNREACHABLE = 75

#: Seconds for the last delivery while Redis is away.
LAST_TRIES = 5.0

#: Seconds between two looks at what a stopping worker waits for.
GLANCE = 0.05

#: What a supervisor writes to its child.
STOP, QUIET, HURRY, DUMP = b"T", b"Q", b"X", b"D"

#: What a child writes to its supervisor.
READY, DONE = b"R", b"E"

#: Seconds between two switches of Python's threads: jobs that compute must not
#: keep the fetcher from its socket for the 5 ms that are the default.
SWITCH = 0.001


def crash_policy(settings: Settings) -> CrashPolicy:
    """Return what the settings say about jobs that kill their process."""
    return CrashPolicy(
        settings.poison_crashes,
        settings.poison_retry_delay,
        settings.poison_window,
        settings.timestamps,
        cooldown_of,
    )


class Launcher:
    """
    Wires one worker process together and runs it until it is told to stop.

    ``control`` is readable when the supervisor says something, at its end when
    the supervisor is gone; ``report`` is where the supervisor listens.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        options: WorkerOptions,
        identity: str,
        control: int,
        report: int,
    ) -> None:
        self._store = store
        self._options = options
        self._identity = identity
        self._control = control
        self._report = report
        self._stopping = threading.Event()
        self._hurry = False
        self._signalled = False
        self._signals = SignalPipe(
            [signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGTTIN]
        )
        # Ctrl-C reaches the whole group; the supervisor passes it on in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        outage = Outage()
        self._lease = Lease(options.lease)
        self._fetcher = Fetcher(store.dedicated(), identity, options, self._lease, outage)
        executor = Executor(settings, self._stopping.is_set, start_lock=self._start_lock)
        self._processors = [
            Processor(number, self._fetcher, executor, self._lease, self._stopping.is_set)
            for number in range(options.concurrency)
        ]
        self._poller = Poller(
            store.dedicated(), identity, client_chain(), outage, unit=settings.timestamps
        )
        self._services: list[Service] = [
            Heartbeat(
                store.dedicated(), identity, options, self._lease, self._fetcher, outage,
                self._signals.send,
            ),
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
        self._work()
        return self._stop()

    def _work(self) -> None:
        """Wait for orders until it is time to stop."""
        while not self._stopping.is_set():
            self._listen(GLANCE if self._options.burst else 5.0)
            if self._options.burst and self._is_drained():
                self._stopping.set()

    def _is_drained(self) -> bool:
        return (
            self._fetcher.idle.is_set()
            and (self._poller.nothing_due or not self._poller.leads)
            and self._fetcher.holding() == 0
        )

    def _listen(self, timeout: float) -> None:
        """Act on signals and on what the supervisor says, for at most ``timeout`` seconds."""
        watched = [self._signals.descriptor]
        if self._control >= 0:
            watched.append(self._control)
        ready, _, _ = select.select(watched, [], [], timeout)
        if self._control in ready:
            said = os.read(self._control, 64)
            if not said:
                logger.error("the supervisor is gone; stopping")
                self._control = -1
                self._stopping.set()
            for order in said:
                self._obey(bytes([order]))
        for number in self._signals.read():
            if number in (signal.SIGTERM, signal.SIGHUP):
                # One to the whole group comes here and, as an order, from the
                # supervisor: that is still the first.
                self._obey(HURRY if self._signalled else STOP)
                self._signalled = True
            elif number in (signal.SIGTSTP, signal.SIGUSR1):
                self._obey(QUIET)
            elif number == signal.SIGTTIN:
                self._obey(DUMP)

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
        self._fetcher.close()
        last = clock.monotonic() + LAST_TRIES
        if not self._fetcher.join(LAST_TRIES):
            logger.error("the fetcher hangs; its jobs are left to recovery")
            left = self._fetcher.holding()
        else:
            # The heartbeat must not write a record again after we have left.
            self._services[0].stop()
            self._services[0].join(LAST_TRIES)
            left = self._fetcher.deliver_last(max(last, clock.monotonic() + 1.0))
        if left:
            logger.error("stopped; %d jobs left to recovery", left)
            return EXIT_LEFT
        logger.info("stopped")
        return EXIT_OK


def chores(store: Store, settings: Settings, outage: Outage, *, burst: bool) -> list[Service]:
    """
    Return what every process looks after beside its jobs: switches, timetables, lost data.

    With ``burst`` nothing of it makes new work: what is there is to be drained.
    """
    if burst:
        return [Watcher(outage), Releaser(store, outage)]
    ticker = Ticker(settings.periodic, settings.reconcilers, outage)

    def heal(turned_off: Collection[str]) -> None:
        """Run the reconcilers of jobs that may be enqueued again."""
        for job in turned_off:
            for reconciler in reconcilers_of(job):
                if (timetable := timetable_of(reconciler)) is not None:
                    ticker.trigger(timetable.name)

    return [
        Watcher(outage, heal),
        Releaser(store, outage),
        ticker,
        EpochWatch(store, ticker.trigger_all, outage),
    ]


def tell_of_poison(payload: Payload) -> None:
    """Run the death hook and the signal of a job that killed its processes."""
    error = PoisonPill(payload.crashes)
    cls = None
    close_old_connections()  # this thread may have had no use for one for weeks
    try:
        cls = registry().get(payload.job_class)
        attempt = Attempt(payload, payload.queue, clock.monotonic())
        cls.for_attempt(attempt).on_exhausted(error)
    except UnknownJob:
        logger.error(
            "%s killed its workers, and its class is not known here", printable(payload.job_class)
        )
    except BaseException:
        logger.exception("jid=%s: on_exhausted failed", printable(payload.jid))
    announce(job_died, cls, payload, error=error)
    close_old_connections()


def run_child(
    store: Store,
    settings: Settings,
    options: WorkerOptions,
    identity: str,
    control: int,
    report: int,
) -> int:
    """Run a worker process that was just forked, and return its exit code."""
    connections.close_all()
    try:
        code = Launcher(store, settings, options, identity, control, report).run()
    except (BootError, StoreError) as error:
        logger.error("the worker cannot start: %s", error)
        return EXIT_UNREACHABLE if isinstance(error, StoreUnavailable) else EXIT_FAULT
    with contextlib.suppress(BrokenPipeError):  # the supervisor was killed
        os.write(report, DONE)
    return code
