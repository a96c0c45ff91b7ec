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

from django_jobqueue import clock, databases
from django_jobqueue.exceptions import StoreError
from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.service import Outage
from django_jobqueue.store.store import Store
from django_jobqueue.worker.boot import make_identity, new_nonce
from django_jobqueue.worker.deaths import Deaths
from django_jobqueue.worker.exit_codes import ExitCode
from django_jobqueue.worker.heartbeat import beat_interval
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.orders import HURRY, QUIET, STOP, Orders
from django_jobqueue.worker.os_signals import SignalPipe
from django_jobqueue.worker.probes import Probes
from django_jobqueue.worker.slot import Slot
from django_jobqueue.worker.vitals import State

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


class Supervisor:
    """
    Starts children, beats for them, takes back what a dead one held, and starts another.

    A child that ends without having said so has crashed, whatever its exit
    code: a job may have called ``os._exit(0)``. Its claims are free as soon as
    it is reaped. One that reached a limit is replaced when it has stopped in good
    order, one at a time. One that was told to stop by itself, by a signal or from
    afar, is not replaced. Signals: TERM, INT and HUP stop gracefully, a second
    one at once; TSTP and USR1 quiet; TTIN has every child log its stacks.

    ``superior`` is where orders come from beside signals, as bytes on a pipe:
    at its end whoever gave them is gone, and the supervisor stops. -1 for none.
    """

    def __init__(
        self,
        store: Store,
        options: WorkerOptions,
        policy: CrashPolicy,
        child_main: ChildMain,
        each_round: Callable[[], None] | None = None,
        *,
        probes: Probes | None = None,
        superior: int = -1,
    ) -> None:
        self._store = store
        self._options = options
        self._child_main = child_main
        self._each_round = each_round
        self._probes = probes
        self._slots = [Slot(number) for number in range(1, options.processes + 1)]
        self._outage = Outage()
        self._deaths = Deaths(store, policy, self._outage)
        self._signals = SignalPipe(
            [
                signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1,
                signal.SIGTTIN, signal.SIGCHLD,
            ]
        )  # fmt: skip
        self._orders = Orders(self._signals, superior, "reloader")
        self._stopping_since: float | None = None
        self._quiet = False
        self._next_beat = 0.0
        self._code: int = ExitCode.OK

    def wait(self, seconds: float) -> bool:
        """Sleep, while nothing runs yet; return True when a signal asks to stop."""
        deadline = clock.monotonic() + seconds
        while (left := deadline - clock.monotonic()) > 0 and self._stopping_since is None:
            self._show(State.ABSENT)
            select.select(self._orders.descriptors, [], [], left)
            self._take_orders()
        return self._stopping_since is not None

    def run(self) -> int:
        """Supervise until all children have ended for good; return the exit code."""
        while True:
            self._take_orders()
            self._start_due()
            self._hear_children()
            self._reap()
            self._retire()
            self._show(self._state())
            self._beat()
            self._deaths.settle()
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

    def _waits(self, slot: Slot) -> bool:
        """Whether a child is to be started in this slot, now or later."""
        if slot.pid or slot.finished or self._stopping_since is not None:
            return False
        # A new child of a quiet worker would have nothing to do, and not know it.
        return not self._quiet

    def _start(self, slot: Slot) -> None:
        databases.close_for_fork()
        _flush()
        control_in, control_out = os.pipe()
        report_in, report_out = os.pipe()
        nonce = new_nonce()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes: that may pass, and the others go on
            for end in (control_in, control_out, report_in, report_out):
                os.close(end)
            delay = self._postpone(slot)
            logger.error("a worker cannot be started: %s; tried again in %.1f s", error, delay)
            return
        if pid == 0:
            # The supervisor's ends of all pipes are not a child's business: with one
            # left open here, neither it nor a sibling would notice the supervisor's death.
            theirs = [control_out, report_in, *self._own_ends()]
            if self._probes is not None:
                theirs += self._probes.ends()
                self._probes.vitals.row = slot.number
            self._become_child(make_identity(os.getpid(), nonce), control_in, report_out, theirs)
        os.close(control_in)
        os.close(report_out)
        os.set_blocking(report_in, False)
        slot.open(pid, make_identity(pid, nonce), control_out, report_in, clock.monotonic())

    def _own_ends(self) -> list[int]:
        """Return what no fork of ours may keep open, beside its own pipes."""
        ends = [end for slot in self._slots for end in slot.ends()]
        return ends if self._orders.pipe < 0 else [*ends, self._orders.pipe]

    def _become_child(
        self, identity: str, control: int, report: int, not_ours: Sequence[int]
    ) -> None:
        """Never returns: the child must not run the parent's code after its own."""
        code: int = ExitCode.FAULT
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
            slot.hear()

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

    def _bury(self, slot: Slot, status: int) -> None:
        """Note a child's death, and decide whether and when it is replaced."""
        slot.hear()
        code = os.waitstatus_to_exitcode(status)
        pid = slot.pid
        slot.close()
        if slot.done:
            self._let_go(slot, pid, code)
            return
        slot.retiring = False
        self._deaths.identities.append(slot.identity)
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        # One that worked before, or only missed Redis, will work again.
        is_hopeless = not slot.was_ready and code > 0 and code != ExitCode.UNREACHABLE
        if is_hopeless and self._stopping_since is None:
            logger.error("worker %d could not start (%s); giving up", pid, how)
            self._code = code
            slot.finished = True
            self._order_stop()
            self._orders.signalled = True  # whoever still gives one is in a hurry
            return
        if clock.monotonic() - slot.born > PROVED:
            slot.failures = 0
        delay = self._postpone(slot)
        if self._stopping_since is not None:
            slot.finished = True
            logger.error("worker %d died while stopping: %s", pid, how)
        else:
            logger.error("worker %d died: %s; another one starts in %.1f s", pid, how, delay)

    def _postpone(self, slot: Slot) -> float:
        """Let the next start in this slot wait, the longer the more have failed; return seconds."""
        slot.failures += 1
        delay = min(RESTART_MAX, RESTART_MIN * 2.0 ** (slot.failures - 1))
        slot.start_at = clock.monotonic() + delay * random.uniform(1.0, 1.2)
        return delay

    def _let_go(self, slot: Slot, pid: int, code: int) -> None:
        """Note a child that ended in good order: after a limit another comes, and else none."""
        if slot.retiring and self._stopping_since is None:
            slot.start_at = 0.0
            if code == ExitCode.LEFT:
                # It could not say goodbye: what it left need not wait for its lease.
                self._deaths.identities.append(slot.identity)
            return
        slot.finished = True
        if code == ExitCode.LEFT:
            self._code = ExitCode.LEFT
        if self._stopping_since is None and not self._options.burst:
            logger.info("worker %d was stopped by itself; none takes its place", pid)

    def _retire(self) -> None:
        """
        Have the next child that reached a limit stop, when the last one is replaced.

        In an outage it could not deliver its results; in a quiet worker nobody
        would take its place.
        """
        if self._quiet or self._stopping_since is not None or self._outage.since is not None:
            return
        if any(slot.retiring for slot in self._slots):
            return
        worn = next((slot for slot in self._slots if slot.worn and slot.pid), None)
        if worn is not None:
            worn.retiring = True
            worn.told_at = clock.monotonic()
            worn.tell(STOP)

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

    # Orders -------------------------------------------------------------------------

    def _take_orders(self) -> None:
        for order in self._orders.take():
            self._obey(order)

    def _obey(self, order: bytes) -> None:
        if order == STOP:
            if self._stopping_since is None:
                self._order_stop()
            return
        if order == HURRY:
            if self._stopping_since is None:
                self._order_stop()
            logger.warning("second signal: stopping at once")
        elif order == QUIET:
            self._quiet = True
        self._tell(order)

    def _order_stop(self) -> None:
        self._stopping_since = clock.monotonic()
        logger.info("stopping")
        for slot in self._slots:
            slot.told_at = slot.told_at or self._stopping_since
        self._tell(STOP)

    def _tell(self, order: bytes) -> None:
        for slot in self._slots:
            slot.tell(order)

    def _kill_late(self) -> None:
        """Kill children that did not stop in time: stuck in C code, or frozen."""
        latest = clock.monotonic() - self._options.timeout - PATIENCE
        for slot in self._slots:
            if slot.pid and slot.told_at and slot.told_at <= latest:
                logger.error("worker %d does not stop; killing it", slot.pid)
                os.kill(slot.pid, signal.SIGKILL)
                if self._stopping_since is not None:
                    self._code = self._code or ExitCode.LEFT

    def _is_over(self) -> bool:
        if any(slot.pid for slot in self._slots):
            return False
        return self._stopping_since is not None or all(slot.finished for slot in self._slots)

    def _finish(self) -> int:
        deadline = clock.monotonic() + 2.0
        while self._deaths.identities and clock.monotonic() < deadline:
            self._deaths.settle()
            select.select([], [], [], 0.1)
        if self._deaths.identities:
            logger.error("%d dead worker(s) are left to recovery", len(self._deaths.identities))
            self._code = self._code or ExitCode.LEFT
        return self._code

    def _pause(self) -> None:
        watched = self._orders.descriptors
        watched += [s.report for s in self._slots if s.report >= 0 and not s.done]
        hurry = self._each_round or self._stopping_since or self._deaths.identities
        timeout = ROUND if hurry else 1.0
        now = clock.monotonic()
        for slot in self._slots:
            if self._waits(slot):
                timeout = min(timeout, max(0.0, slot.start_at - now))
        select.select(watched, [], [], timeout)

    # Probes -------------------------------------------------------------------------

    def _state(self) -> State:
        if self._stopping_since is not None:
            return State.STOPPING
        return State.QUIET if self._quiet else State.WORKING

    def _show(self, state: State) -> None:
        """Show the probes that the supervisor turns, and which children are not there."""
        if self._probes is None:
            return
        for slot in self._slots:
            if not slot.pid:
                gone = State.FINISHED if slot.finished else State.ABSENT
                self._probes.vitals.reset(slot.number, gone)
        self._probes.keep(state, self._own_ends())


def _signal_name(number: int) -> str:
    """Return a signal's name; those for real time have only numbers."""
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def _flush() -> None:
    """Write out what was printed, so that no fork prints it again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody listens any more
            stream.flush()
