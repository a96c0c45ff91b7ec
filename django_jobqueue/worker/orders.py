"""Who tells a process of ``runjobs`` what to do: signals, and the process above it."""

from __future__ import annotations

import logging
import os
import signal

from django_jobqueue.worker.os_signals import SignalPipe

logger = logging.getLogger("django_jobqueue.worker")

#: Downwards through pipes, a byte each: from the reloader to a supervisor, and from a supervisor
#: to its children.
STOP, QUIET, HURRY, DUMP = b"T", b"Q", b"X", b"D"

#: Upwards, from a child to its supervisor: it works; it has reached a limit and would like to
#: be replaced; it has ended in good order.
READY, WORN, DONE = b"R", b"W", b"E"

#: Signals that ask to stop: the first in good order, a second one at once.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Orders:
    """
    All orders to this process, wherever they come from.

    ``pipe`` is where those of the process above come out, -1 without one; its
    end is an order to stop, for the process ``above`` is gone. One signal to
    the whole group comes here twice, as itself and as an order: that is still
    the first.
    """

    def __init__(self, signals: SignalPipe, pipe: int, above: str) -> None:
        self._signals = signals
        self._above = above
        #: Whether a signal to stop has come.
        self.signalled = False
        self.pipe = pipe
        if pipe >= 0:
            os.set_blocking(pipe, False)

    @property
    def descriptors(self) -> list[int]:
        """What can be read when there is an order."""
        ends = [self._signals.descriptor]
        return ends if self.pipe < 0 else [*ends, self.pipe]

    def take(self) -> list[bytes]:
        """Return the orders that came since the last call."""
        found = self._from_above()
        for number in self._signals.read():
            if number in STOPPING:
                found.append(HURRY if self.signalled else STOP)
                self.signalled = True
            elif number in (signal.SIGTSTP, signal.SIGUSR1):
                found.append(QUIET)
            elif number == signal.SIGTTIN:
                found.append(DUMP)
        return found

    def _from_above(self) -> list[bytes]:
        if self.pipe < 0:
            return []
        try:
            said = os.read(self.pipe, 64)
        except BlockingIOError:
            return []
        if not said:
            logger.error("the %s is gone; stopping", self._above)
            os.close(self.pipe)
            self.pipe = -1
            return [STOP]
        return [bytes([order]) for order in said]
