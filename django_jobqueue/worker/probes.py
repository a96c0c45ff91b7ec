"""Whether this worker lives and whether it is ready, told to whoever watches over it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import connections

from django_jobqueue import clock
from django_jobqueue.exceptions import BootError
from django_jobqueue.payload import dump_json
from django_jobqueue.worker.probe_port import ProbePort, listen, parse_address
from django_jobqueue.worker.vitals import State, Vital, Vitals

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds since the last good fetch that are normal: an idle fetcher waits for five.
FRESH = 15.0

#: Seconds without a turn after which a loop hangs, at least; a long lease allows more.
HUNG = 60.0

#: Seconds between two touches of a file.
TOUCH = 1.0

#: Seconds between two starts of the process that answers.
RESTART = 1.0

#: States of a child that runs.
_RUNNING = (State.WORKING, State.AWAY, State.QUIET, State.STOPPING)


def hung_after(lease: float) -> float:
    """Return after how many seconds without a turn a process with that lease is taken as hung."""
    return max(HUNG, 2 * lease)


def why_not_live(vitals: Vitals, limit: float) -> list[str]:
    """
    Return the reasons to start everything anew: loops that have not turned for ``limit`` seconds.

    Neither Redis nor the database has a part in it, and neither has a long job.
    """
    now = clock.monotonic()
    reasons = []
    supervisor = vitals.read(0)
    if now - supervisor.shown_at > limit:
        reasons.append(f"the supervisor has not turned for {now - supervisor.shown_at:.0f} s")
    for row, child in _children(vitals):
        idle = now - min(child.shown_at, child.turned_at)
        if child.state in _RUNNING and idle > limit:
            reasons.append(f"worker {row} has not turned for {idle:.0f} s")
    return reasons


def why_not_ready(vitals: Vitals, limit: float) -> list[str]:
    """Return the reasons why not every process takes jobs now."""
    reasons = why_not_live(vitals, limit)
    words = {
        State.ABSENT: "is starting", State.QUIET: "is quiet", State.STOPPING: "is stopping",
        State.AWAY: "cannot reach Redis",
    }  # fmt: skip
    state = vitals.read(0).state
    if state is not State.WORKING:
        reasons.append(f"the supervisor {words[state]}")
    now = clock.monotonic()
    for row, child in _children(vitals):
        if child.state in words:
            reasons.append(f"worker {row} {words[child.state]}")
        elif child.state is State.WORKING and now - child.served_at > FRESH:
            reasons.append(f"worker {row} has not fetched for {now - child.served_at:.0f} s")
    return reasons


def _children(vitals: Vitals) -> list[tuple[int, Vital]]:
    return [(row, vitals.read(row)) for row in range(1, vitals.children + 1)]


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Where the answers are to be had: ``[ADDRESS:]PORT`` and paths; None for not there."""

    port: str | None = None
    ready_file: str | None = None
    live_file: str | None = None

    @property
    def are_wanted(self) -> bool:
        """Whether there is any."""
        return any((self.port, self.ready_file, self.live_file))


class Probes:
    """
    A process beside the supervisor that answers for it, so that it answers when all else is stuck.

    It reads the vitals, runs none of the user's code and talks to no server. A
    port gives the reasons as JSON; a file exists while the answer is yes, and is
    touched every second. It ends with the supervisor, however that ended, and
    takes the files along; if it dies itself another is started.

    Raises: BootError when the port cannot be had, or a file's directory not be written.
    """

    def __init__(self, options: ProbeOptions, children: int, lease: float) -> None:
        self.vitals = Vitals(children)
        self._limit = hung_after(lease)
        self._files = {
            name: Path(path).absolute()
            for name, path in (("ready", options.ready_file), ("live", options.live_file))
            if path
        }
        for name, path in self._files.items():
            if not os.access(path.parent, os.W_OK | os.X_OK) or path.is_dir():
                raise BootError(f"--{name}-file {str(path)!r} cannot be written")
            # It is deleted when the answer is no, so a slip must not name what somebody needs.
            if path.exists() and path.stat().st_size:
                raise BootError(f"--{name}-file {str(path)!r} is not empty: choose another name")
        self._listener: socket.socket | None = None
        if options.port:
            self._listener = listen(*parse_address(options.port))
            address, port = self._listener.getsockname()[:2]
            shown = f"[{address}]" if ":" in address else address
            logger.info("probes answer at http://%s:%d/live and /ready", shown, port)
        self._pid = 0
        self._control = -1
        self._start_at = 0.0

    def keep(self, state: State, not_ours: Sequence[int]) -> None:
        """
        Show what the supervisor does and that it turns; start the answering process if need be.

        ``not_ours`` are descriptors that it must not keep open.
        """
        now = clock.monotonic()
        self.vitals.show(state, now, turned_at=now, served_at=now)
        if self._pid and self._has_ended():
            logger.error("the process that answers probes died; another one starts")
        if not self._pid and now >= self._start_at:
            self._start_at = now + RESTART
            self._start(not_ours)

    def ends(self) -> list[int]:
        """Return the descriptors that no other process may keep open."""
        ends = [self._control] if self._control >= 0 else []
        return ends if self._listener is None else [*ends, self._listener.fileno()]

    def close(self) -> None:
        """End the answers and take the files away. To be called by the supervisor."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        deadline = clock.monotonic() + 2.0
        while self._pid and not self._has_ended():
            if clock.monotonic() >= deadline:
                os.kill(self._pid, signal.SIGKILL)
            select.select([], [], [], 0.01)
        if self._listener is not None:
            self._listener.close()

    def answer(self, question: str) -> tuple[bool, bytes] | None:
        """Return yes or no to ``live`` or ``ready``, with the reasons as JSON."""
        ask = {"live": why_not_live, "ready": why_not_ready}.get(question)
        if ask is None:
            return None
        reasons = ask(self.vitals, self._limit)
        return not reasons, dump_json({question: not reasons, "why": reasons}).encode()

    # The supervisor's side ----------------------------------------------------------

    def _start(self, not_ours: Sequence[int]) -> None:
        connections.close_all()
        told, control = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # no process is left for us: that may pass
            logger.error("no process can be started that answers probes: %s", error)
            os.close(told)
            os.close(control)
            return
        if pid == 0:
            try:
                for descriptor in (*not_ours, control):
                    os.close(descriptor)
                self._serve(told)
            except BaseException:
                logger.exception("the process that answers probes failed")
            finally:
                os._exit(0)
        os.close(told)
        self._pid, self._control = pid, control

    def _has_ended(self) -> bool:
        pid, _ = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return False
        self._pid = 0
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        return True

    # The answering process ----------------------------------------------------------

    def _serve(self, told: int) -> None:
        # A signal to the whole group stops the supervisor, and we end after it.
        for number in (
            signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1,
            signal.SIGTTIN,
        ):  # fmt: skip
            signal.signal(number, signal.SIG_IGN)
        port = None if self._listener is None else ProbePort(self._listener, self.answer)
        timeout = TOUCH if self._files else None
        is_over = False
        try:
            while not is_over:
                self._touch()
                if port is not None:
                    is_over = port.serve(timeout, told)
                else:
                    is_over = bool(select.select([told], [], [], timeout)[0])
        finally:
            for path in self._files.values():
                path.unlink(missing_ok=True)

    def _touch(self) -> None:
        for name, path in self._files.items():
            answer = self.answer(name)
            # A full disk: then the file grows old, and that is an answer.
            with contextlib.suppress(OSError):
                if answer is not None and answer[0]:
                    path.touch()
                else:
                    path.unlink(missing_ok=True)
