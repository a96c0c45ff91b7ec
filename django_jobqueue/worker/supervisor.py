"""The parent of the worker processes: keeps them alive, and runs no code of the user's."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import connections

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreError
from django_jobqueue.scheduling.recovery import CrashPolicy, take_back
from django_jobqueue.service import Backoff, Outage
from django_jobqueue.store.store import Store
from django_jobqueue.worker.boot import make_identity, new_nonce
from django_jobqueue.worker.heartbeat import beat_interval
from django_jobqueue.worker.launcher import (
    DONE,
    DUMP,
    EXIT_FAULT,
    EXIT_LEFT,
    EXIT_OK,
    EXIT_UNREACHABLE,
    HURRY,
    QUIET,
    READY,
    STOP,
)
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.os_signals import SignalPipe

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds before a dead child is replaced: the first time, and at most.
RESTART_MIN = 1.0
RESTART_MAX = 30.0

#: Seconds after which a child that lived has proved itself.
PROVED = 30.0

#: Seconds on top of the time-out before a child that does not stop is killed.
PATIENCE = 8.0

#: Seconds between two looks at everything.
ROUND = 0.25

#: Runs in a new child: (identity, control, report) -> exit code.
ChildMain = Callable[[str, int, int], int]


@dataclass(slots=True)
class _Slot:
    """The place of one child: the present one, or when to start the next. Times are monotonic."""

    pid: int = 0
    identity: str = ""
    control: int = -1
    report: int = -1
    born: float = 0.0
    ready: bool = False
    was_ready: bool = False
    done: bool = False
    stopped: bool = False
    finished: bool = False
    start_at: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class _Deaths:
    """Identities of dead children whose claims are not taken back yet."""

    identities: list[str] = field(default_factory=list)
    retry_at: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """
    Starts children, beats for them, takes back what a dead one held, and starts another.

    A child that ends without having said so has crashed, whatever its exit
    code: a job may have called ``os._exit(0)``. Its claims are free as soon as
    it is reaped. Signals: TERM, INT and HUP stop gracefully, a second one at
    once; TSTP and USR1 quiet; TTIN has every child log its stacks.
    """

    def __init__(
        self,
        store: Store,
        options: WorkerOptions,
        policy: CrashPolicy,
        child_main: ChildMain,
        each_round: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._policy = policy
        self._child_main = child_main
        self._each_round = each_round
        self._slots = [_Slot() for _ in range(options.processes)]
        self._deaths = _Deaths()
        self._outage = Outage()
        self._signals = SignalPipe(
            [
                signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1,
                signal.SIGTTIN, signal.SIGCHLD,
            ]
        )  # fmt: skip
        self._stopping_since: float | None = None
        self._quiet = False
        self._next_beat = 0.0
        self._code = EXIT_OK

    def wait(self, seconds: float) -> bool:
        """Sleep, while nothing runs yet; return True when a signal asks to stop."""
        deadline = clock.monotonic() + seconds
        while (left := deadline - clock.monotonic()) > 0 and self._stopping_since is None:
            select.select([self._signals.descriptor], [], [], left)
            self._take_signals()
        return self._stopping_since is not None

    def run(self) -> int:
        """Supervise until all children have ended for good; return the exit code."""
        while True:
            self._take_signals()
            self._start_due()
            self._hear_children()
            self._reap()
            self._beat()
            self._settle_deaths()
            self._kill_late()
            if self._each_round is not None:
                self._each_round()
            if self._is_over():
                return self._finish()
            self._pause()

    # Children ---------------------------------------------------------------------

    def _start_due(self) -> None:
        now = clock.monotonic()
        for slot in self._slots:
            if self._waits(slot) and now >= slot.start_at:
                self._start(slot)

    def _waits(self, slot: _Slot) -> bool:
        """Whether a child is to be started in this slot, now or later."""
        if slot.pid or slot.finished or self._stopping_since is not None:
            return False
        # A new child of a quiet worker would have nothing to do, and not know it.
        return not self._quiet

    def _start(self, slot: _Slot) -> None:
        connections.close_all()
        _flush()
        control_in, control_out = os.pipe()
        report_in, report_out = os.pipe()
        nonce = new_nonce()
        pid = os.fork()
        if pid == 0:
            # The supervisor's ends of all pipes are not a child's business: with one
            # left open here, neither it nor a sibling would notice the supervisor's death.
            siblings = [end for other in self._slots for end in (other.control, other.report)]
            theirs = [end for end in (control_out, report_in, *siblings) if end >= 0]
            self._become_child(make_identity(os.getpid(), nonce), control_in, report_out, theirs)
        os.close(control_in)
        os.close(report_out)
        os.set_blocking(report_in, False)
        slot.pid = pid
        slot.identity = make_identity(pid, nonce)
        slot.control, slot.report = control_out, report_in
        slot.born = clock.monotonic()
        slot.ready = slot.done = slot.stopped = False

    def _become_child(
        self, identity: str, control: int, report: int, not_ours: Sequence[int]
    ) -> None:
        """Never returns: the child must not run the parent's code after its own."""
        code = EXIT_FAULT
        try:
            self._signals.close()
            for descriptor in not_ours:
                os.close(descriptor)
            code = self._child_main(identity, control, report)
        except BaseException:
            logger.exception("worker %s failed", identity)
        finally:
            logging.shutdown()
            _flush()
            os._exit(code)

    def _hear_children(self) -> None:
        for slot in self._slots:
            self._hear(slot)

    def _hear(self, slot: _Slot) -> None:
        if slot.report < 0:
            return
        try:
            said = os.read(slot.report, 64)
        except BlockingIOError:
            return
        slot.ready |= READY in said
        slot.was_ready |= slot.ready
        slot.done |= DONE in said

    def _reap(self) -> None:
        for slot in self._slots:
            while slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
                if pid == 0:
                    break
                if os.WIFSTOPPED(status):
                    # Somebody froze it: without our beat its jobs go to others in time.
                    slot.stopped = True
                elif os.WIFCONTINUED(status):
                    slot.stopped = False
                else:
                    self._bury(slot, status)

    def _bury(self, slot: _Slot, status: int) -> None:
        """Note a child's death, and decide whether and when it is replaced."""
        self._hear(slot)
        code = os.waitstatus_to_exitcode(status)
        now = clock.monotonic()
        pid, slot.pid = slot.pid, 0
        os.close(slot.control)
        os.close(slot.report)
        slot.control = slot.report = -1
        if slot.done:
            slot.finished = True
            if code == EXIT_LEFT:
                self._code = EXIT_LEFT
            return
        self._deaths.identities.append(slot.identity)
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        # One that worked before, or only missed Redis, will work again.
        is_hopeless = not slot.was_ready and code > 0 and code != EXIT_UNREACHABLE
        if is_hopeless and self._stopping_since is None:
            logger.error("worker %d could not start (%s); giving up", pid, how)
            self._code = code
            slot.finished = True
            self._order_stop()
            return
        slot.failures = 1 if now - slot.born > PROVED else slot.failures + 1
        delay = min(RESTART_MAX, RESTART_MIN * 2 ** (slot.failures - 1))
        slot.start_at = now + delay * random.uniform(1.0, 1.2)
        if self._stopping_since is not None:
            slot.finished = True
            logger.error("worker %d died while stopping: %s", pid, how)
        else:
            logger.error("worker %d died: %s; another one starts in %.1f s", pid, how, delay)

    # Redis --------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew the leases of all children that are neither dead nor frozen."""
        now = clock.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + beat_interval(self._options.lease)
        try:
            for slot in self._slots:
                if slot.pid and slot.ready and not slot.stopped:
                    self._store.claims.extend(slot.identity, self._options.lease)
                    self._outage.ended("beat")
        except StoreError as error:
            self._outage.began(error, "beat")

    def _settle_deaths(self) -> None:
        """Declare reaped children dead and take back what they held."""
        deaths = self._deaths
        if not deaths.identities or clock.monotonic() < deaths.retry_at:
            return
        try:
            while deaths.identities:
                identity = deaths.identities[0]
                self._store.claims.declare_dead(identity)
                take_back(self._store.claims, identity, self._policy)
                self._store.processes.forget(identity)
                deaths.identities.pop(0)
            deaths.backoff.reset()
            self._outage.ended("deaths")
        except StoreError as error:
            self._outage.began(error, "deaths")
            deaths.retry_at = clock.monotonic() + deaths.backoff.next()

    # Orders -------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in self._signals.read():
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if self._stopping_since is None:
                    self._order_stop()
                else:
                    logger.warning("second signal: stopping at once")
                    self._tell(HURRY)
            elif number in (signal.SIGTSTP, signal.SIGUSR1):
                self._quiet = True
                self._tell(QUIET)
            elif number == signal.SIGTTIN:
                self._tell(DUMP)

    def _order_stop(self) -> None:
        self._stopping_since = clock.monotonic()
        logger.info("stopping")
        self._tell(STOP)

    def _tell(self, order: bytes) -> None:
        for slot in self._slots:
            if slot.control >= 0:
                # A child that died a moment ago is about to be reaped.
                with contextlib.suppress(BrokenPipeError):
                    os.write(slot.control, order)

    def _kill_late(self) -> None:
        """Kill children that did not stop in time: stuck in C code, or frozen."""
        since = self._stopping_since
        if since is None or clock.monotonic() - since < self._options.timeout + PATIENCE:
            return
        for slot in self._slots:
            if slot.pid and not slot.finished:
                logger.error("worker %d does not stop; killing it", slot.pid)
                os.kill(slot.pid, signal.SIGKILL)
                self._code = self._code or EXIT_LEFT

    def _is_over(self) -> bool:
        if any(slot.pid for slot in self._slots):
            return False
        return self._stopping_since is not None or all(slot.finished for slot in self._slots)

    def _finish(self) -> int:
        deadline = clock.monotonic() + 2.0
        while self._deaths.identities and clock.monotonic() < deadline:
            self._settle_deaths()
            select.select([], [], [], 0.1)
        if self._deaths.identities:
            logger.error("%d dead worker(s) are left to recovery", len(self._deaths.identities))
            self._code = self._code or EXIT_LEFT
        return self._code

    def _pause(self) -> None:
        watched = [self._signals.descriptor]
        watched += [s.report for s in self._slots if s.report >= 0 and not s.done]
        hurry = self._each_round or self._stopping_since or self._deaths.identities
        timeout = ROUND if hurry else 1.0
        now = clock.monotonic()
        for slot in self._slots:
            if self._waits(slot):
                timeout = min(timeout, max(0.0, slot.start_at - now))
        select.select(watched, [], [], timeout)


def _signal_name(number: int) -> str:
    """Return a signal's name; those for real time have only numbers."""
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def _flush() -> None:
    """Write out what was printed, so that no fork prints it again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody listens any more
            stream.flush()
