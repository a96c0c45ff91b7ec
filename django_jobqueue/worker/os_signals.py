"""Signals of the operating system, turned into bytes on a pipe that a loop can wait for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import ClassVar


class SignalPipe:
    """
    Collect signals until somebody reads them.

    Only the number of a signal is written when it comes; what it means happens
    in a loop, where locks may be taken. Must be made in the main thread. A fork
    of the process lets go of it: a job's ``multiprocessing`` must be able to
    end its processes, and their signals are not ours.
    """

    #: The one of this process, while it is open.
    latest: ClassVar[SignalPipe | None] = None

    def __init__(self, signals: Iterable[int]) -> None:
        self.descriptor, self._write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)
        self.numbers = list(signals)
        for number in self.numbers:
            signal.signal(number, self._ignore)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        SignalPipe.latest = self

    def read(self) -> list[int]:
        """Return the signals that came since the last call, in order."""
        try:
            return [number for number in os.read(self.descriptor, 1024) if number]
        except BlockingIOError:
            return []

    def send(self, number: int) -> None:
        """Act as if this signal had come. May be called from any thread."""
        os.write(self._write, bytes([number]))

    def wake(self) -> None:
        """End a wait for the descriptor, with no signal. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # so full that nobody can be waiting
            os.write(self._write, b"\0")

    def close(self) -> None:
        """Let go of the signals: a forked child collects its own. Idempotent."""
        if SignalPipe.latest is not self:
            return
        SignalPipe.latest = None
        signal.set_wakeup_fd(-1)
        for number in self.numbers:
            signal.signal(number, signal.SIG_DFL)
        os.close(self.descriptor)
        os.close(self._write)

    @staticmethod
    def _ignore(number: int, frame: FrameType | None) -> None:
        """A handler there must be, or Python would not write to the pipe."""


#: The signals that a thread had blocked before the fork that it is in.
_forking = threading.local()


def _before_fork() -> None:
    """Keep signals away from the child until they cannot reach our pipe through it."""
    pipe = SignalPipe.latest
    numbers = [] if pipe is None else pipe.numbers
    _forking.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _after_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.blocked)


def _after_in_child() -> None:
    if SignalPipe.latest is not None:
        SignalPipe.latest.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.blocked)


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)


def stacks() -> str:
    """Return what every thread is doing, for the log."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        trace = "".join(traceback.format_stack(frame))
        parts.append(f"thread {names.get(ident, '?')} ({ident})\n{trace}")
    return "\n".join(parts)
