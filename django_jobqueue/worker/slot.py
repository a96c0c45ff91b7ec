"""The place of one child of the supervisor: the present one, or when to start the next."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from django_jobqueue.worker.orders import DONE, READY, WORN


@dataclass(slots=True)
class Slot:
    """
    What the supervisor knows of a child. Times are monotonic seconds.

    ``control`` and ``report`` are our ends of the pipes to it, -1 without one.
    """

    #: From 1: its row among the vitals.
    number: int = 1
    pid: int = 0
    identity: str = ""
    control: int = -1
    report: int = -1
    born: float = 0.0
    ready: bool = False
    was_ready: bool = False
    #: It has reached a limit and would like to be replaced.
    worn: bool = False
    #: It was told to stop, for another to take its place.
    retiring: bool = False
    #: When it was told to stop; 0 if it was not.
    told_at: float = 0.0
    done: bool = False
    #: It is frozen, by SIGSTOP or its like.
    stopped: bool = False
    #: Nobody takes its place any more.
    finished: bool = False
    start_at: float = 0.0
    failures: int = 0

    def open(self, pid: int, identity: str, control: int, report: int, now: float) -> None:
        """Note a child that was just forked."""
        self.pid, self.identity, self.control, self.report = pid, identity, control, report
        self.born, self.told_at = now, 0.0
        self.ready = self.worn = self.done = self.stopped = False

    def close(self) -> None:
        """Note that the child is dead."""
        self.pid = 0
        os.close(self.control)
        os.close(self.report)
        self.control = self.report = -1

    def ends(self) -> list[int]:
        """Return our ends of its pipes."""
        return [end for end in (self.control, self.report) if end >= 0]

    def tell(self, order: bytes) -> None:
        """Write an order to the child, if there is one."""
        if self.control >= 0:
            # One that died a moment ago is about to be reaped.
            with contextlib.suppress(BrokenPipeError):
                os.write(self.control, order)

    def hear(self) -> None:
        """Read what the child reported since the last time."""
        if self.report < 0:
            return
        try:
            said = os.read(self.report, 64)
        except BlockingIOError:
            return
        self.ready |= READY in said
        self.was_ready |= self.ready
        self.worn |= WORN in said
        self.done |= DONE in said
        if READY in said:
            self.retiring = False
