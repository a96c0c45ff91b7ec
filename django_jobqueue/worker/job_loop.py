"""The event loop that runs async jobs: one thread, one task a job."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import traceback
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

from django_jobqueue import clock
from django_jobqueue.store.claims import BACK
from django_jobqueue.store.locks import lock_in
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.held import Held, jid_of
from django_jobqueue.worker.lane import Lane
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.outcome import Outcome

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks at a closed gate.
GATE = 0.05


class JobLoop:
    """
    Takes held jobs out of its lane, runs so many at a time, and hands the outcomes to the fetcher.

    Jobs that end in one round of the loop are handed over together, and those that
    were claimed together are taken by one call.
    """

    def __init__(self, lane: Lane, fetcher: Fetcher, executor: Executor, lease: Lease) -> None:
        self._lane = lane
        self._fetcher = fetcher
        self._executor = executor
        self._lease = lease
        self._loop = asyncio.new_event_loop()
        # Not by PYTHONASYNCIODEBUG, which makes a loop several times slower.
        self._loop.set_debug(False)
        self._tasks: dict[Held, asyncio.Task[Outcome | None]] = {}
        self._ended: list[tuple[Held, Outcome | None]] = []
        self._watches_gate = False
        self._is_over = False
        #: Set while no job runs.
        self._empty = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobqueue-loop", daemon=True)

    def start(self) -> None:
        """Begin. Raises: RuntimeError when the system gives no more threads."""
        self._lane.call = self._call
        self._thread.start()
        self._call()  # jobs may have come before

    def cancel(self, timeout: float) -> None:
        """
        Cancel the jobs that run, and wait up to ``timeout`` seconds for their ends.

        Those that do not end are told of, and left to whoever gives their claims back.
        """
        told = threading.Event()

        def cancel_all() -> None:
            # The newest first: each goes back to its queue before those that are there.
            for task in reversed(list(self._tasks.values())):
                task.cancel()
            self._note_empty()
            told.set()

        deadline = clock.monotonic() + timeout
        self._loop.call_soon_threadsafe(cancel_all)
        if told.wait(timeout) and self._empty.wait(max(0.0, deadline - clock.monotonic())):
            return
        deaf = [jid_of(held.claim.raw) for held in list(self._tasks)]
        if deaf:
            logger.error("%d async job(s) do not end (%s)", len(deaf), ", ".join(deaf[:20]))

    def stacks(self) -> str:
        """Return where each running job waits, for the log."""
        found = []
        for held, task in list(self._tasks.items()):
            frames = traceback.format_list(traceback.StackSummary.extract(_waits_of(task)))
            found.append(f"async job {jid_of(held.claim.raw)}\n{''.join(frames)}")
        return "\n".join(found)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._is_over:
            try:
                self._loop.run_forever()
                if not self._is_over:
                    logger.error("The event loop was stopped by a job; it goes on")
            except BaseException:
                # SystemExit of a task that a job has started ends the loop: not for the others.
                logger.exception("The event loop was left; it goes on")

    def stop(self, timeout: float) -> None:
        """End the loop, for tests: a worker's ends with its process."""
        self._is_over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout)
        self._loop.close()

    # On the loop ------------------------------------------------------------------------

    def _call(self) -> None:
        self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Start what waits in the lane, as far as there is room and the gate is open."""
        inbox = self._lane.inbox
        while len(self._tasks) < self._lane.capacity and not inbox.empty():
            if not self._lease.is_safe:
                self._watch_gate()
                return
            try:
                held = inbox.get_nowait()
            except queue.Empty:  # it was given back
                return
            if held is None or held.lost:
                continue
            held.started = clock.monotonic()
            self._empty.clear()
            claim = held.claim
            task = self._loop.create_task(self._executor.run_async(claim.raw, claim.queue))
            task.add_done_callback(partial(self._end, held))
            self._tasks[held] = task

    def _watch_gate(self) -> None:
        if not self._watches_gate:
            self._watches_gate = True
            self._loop.call_later(GATE, self._look_at_gate)

    def _look_at_gate(self) -> None:
        self._watches_gate = False
        self._take()

    def _end(self, held: Held, task: asyncio.Task[Outcome | None]) -> None:
        del self._tasks[held]
        # A task that was cancelled before its first step has not even begun.
        never_ran = task.cancelled()
        outcome = Outcome(BACK, lock=lock_in(held.claim.raw)) if never_ran else task.result()
        if not self._ended:
            self._loop.call_soon(self._hand_over)
        self._ended.append((held, outcome))

    def _hand_over(self) -> None:
        ended, self._ended = self._ended, []
        self._fetcher.finish_all(ended)
        self._take()
        self._note_empty()

    def _note_empty(self) -> None:
        if not self._tasks and not self._ended:
            self._empty.set()


def _waits_of(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    """Return the frames of a task that waits, the innermost last: asyncio itself shows one."""
    waits: Any = task.get_coro()
    while (frame := getattr(waits, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        waits = waits.cr_await
