"""A worker under development: started anew whenever its source changes."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.apps import apps
from django.utils import autoreload

from django_jobqueue import clock
from django_jobqueue.worker.exit_codes import ExitCode
from django_jobqueue.worker.orders import DUMP, HURRY, QUIET, STOP
from django_jobqueue.worker.os_signals import SignalPipe

logger = logging.getLogger("django_jobqueue.worker")

#: Names, for the process that we run, the descriptor where our orders come out.
VARIABLE = "JOBQUEUE_RELOADER"

#: Seconds that running jobs have to end when the source has changed; then they are given
#: back, and run again in the new code.
GRACE = 5.0

#: Seconds after which a process that still runs is killed, on top of the time-out.
PATIENCE = 20.0

#: Seconds between two looks at a process that is to end.
GLANCE = 0.25

#: Seconds before the watch is begun again after a failure.
WATCH_AGAIN = 1.0

_ORDERS = {
    signal.SIGTSTP: QUIET, signal.SIGUSR1: QUIET, signal.SIGTTIN: DUMP,
}  # fmt: skip


def superior() -> int:
    """
    Return the descriptor where the reloader's orders come out; -1 where no reloader runs us.

    To be called once: what this process starts is none of the reloader's.
    """
    named = os.environ.pop(VARIABLE, "")
    if not named:
        return -1
    descriptor = int(named)
    os.set_inheritable(descriptor, False)
    return descriptor


class Reloader:
    """
    Runs this command in a process of its own and starts it again when a file changes.

    Django's autoreloader says which files and when; a change has the worker stop
    as TERM does, with little time for running jobs. A process, because only a
    new interpreter has nothing of the old code; and not Django's loop around it,
    which kills that process where ours lets it end in good order. Code that
    cannot be loaded ends the process, not the loop: the next change is waited
    for. Signals are those of the supervisor.

    ``timeout`` is the time in seconds that running jobs have at a stop.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._signals = SignalPipe(
            [
                signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1,
                signal.SIGTTIN, signal.SIGCHLD,
            ]
        )  # fmt: skip
        self._changed: Path | None = None
        self._stopping = False
        self._hurry = False
        self._control = -1

    def run(self) -> int:
        """Run until told to stop, or until the worker ends by itself; return its exit code."""
        autoreload.file_changed.connect(self._note_change, dispatch_uid=VARIABLE)
        threading.Thread(target=self._watch, name="jobqueue-reloader", daemon=True).start()
        was_restarted = False
        while True:
            code = self._run_once()
            if self._stopping:
                # Ctrl-C reaches a worker too that has only begun to start, and has nothing to end.
                return ExitCode.OK if code == 128 + signal.SIGINT else code
            if self._changed is None:
                # What could not start at all has a fault of its own; what could not
                # start again was broken by the last change.
                if code != ExitCode.FAULT or not was_restarted:
                    return code
                logger.error("the worker ended with exit code %d; waiting for a change", code)
                if not self._wait_for_change():
                    return code
            logger.info("%s changed: starting again", self._changed)
            self._changed = None
            was_restarted = True

    # The worker -----------------------------------------------------------------------

    def _run_once(self) -> int:
        """Run the worker until it ends, and have it end when a file changes."""
        orders, self._control = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - the command that we are ourselves
                autoreload.get_child_arguments(),
                env={**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true", VARIABLE: str(orders)},
                pass_fds=[orders],
            )
            os.close(orders)
            code = self._attend(process)
        finally:
            os.close(self._control)
            self._control = -1
        return code if code >= 0 else 128 - code

    def _attend(self, process: subprocess.Popen[bytes]) -> int:
        told_at: float | None = None
        hurried = False
        while (code := process.poll()) is None:
            now = clock.monotonic()
            if told_at is None and (self._changed is not None or self._stopping):
                told_at = now
                self._tell(STOP)
            is_late = not self._stopping and told_at is not None and now - told_at >= GRACE
            if not hurried and (self._hurry or is_late):
                hurried = True
                self._tell(HURRY)
            if told_at is not None and now - told_at >= self._timeout + PATIENCE:
                logger.error("the worker does not stop; killing it")
                process.kill()
            select.select([self._signals.descriptor], [], [], 60.0 if told_at is None else GLANCE)
            self._take_signals()
        return code

    def _take_signals(self) -> None:
        for number in self._signals.read():
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                self._hurry = self._stopping
                self._stopping = True
            elif number in _ORDERS:
                self._tell(_ORDERS[signal.Signals(number)])

    def _tell(self, order: bytes) -> None:
        if self._control >= 0:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(self._control, order)

    def _wait_for_change(self) -> bool:
        """Return True when a file changed, False when a signal asks to stop."""
        while self._changed is None and not self._stopping:
            select.select([self._signals.descriptor], [], [])
            self._take_signals()
        return not self._stopping

    # The files ------------------------------------------------------------------------

    def _watch(self) -> None:
        """Watch the files in a thread, for ever."""
        reloader = autoreload.get_reloader()
        for directory in _source_directories():
            # What is imported late, or will be made, is none of the modules of this process.
            reloader.watch_dir(directory, "**/*.py")
        logger.info("watching the source with %s", type(reloader).__name__)
        while True:
            try:
                reloader.run(threading.current_thread())
            except Exception:
                logger.exception("the watch over the source failed; it goes on")
            select.select([], [], [], WATCH_AGAIN)

    def _note_change(self, sender: Any, file_path: Path, **rest: Mapping[str, Any]) -> bool:
        """Take the news; True says that nobody else need act on it, nor end this process."""
        self._changed = file_path
        self._signals.wake()
        return True


def _source_directories() -> list[Path]:
    """Return where the project's own applications lie: not those that were installed."""
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]
    found = {Path(config.path).resolve() for config in apps.get_app_configs()}
    return sorted(
        path for path in found if not any(path.is_relative_to(place) for place in installed)
    )
