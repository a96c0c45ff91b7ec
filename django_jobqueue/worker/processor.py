"""The threads that run jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from django_jobqueue import clock, databases
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.held import jid_of
from django_jobqueue.worker.lease import Lease

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks at a closed gate.
GATE = 0.05


class Processor:
    """Takes held jobs one by one, runs them, and hands the outcome to the fetcher."""

    def __init__(
        self,
        number: int,
        fetcher: Fetcher,
        executor: Executor,
        lease: Lease,
        stopping: Callable[[], bool],
    ) -> None:
        self._fetcher = fetcher
        self._executor = executor
        self._lease = lease
        self._stopping = stopping
        self._thread = threading.Thread(
            target=self._run, name=f"jobqueue-processor-{number}", daemon=True
        )

    def start(self) -> None:
        """Begin. Raises: RuntimeError when the system gives no more threads."""
        self._thread.start()

    def _run(self) -> None:
        take, finish = self._fetcher.lanes.threads.inbox.get, self._fetcher.finish
        lease = self._lease
        run = self._executor.run
        while True:
            held = take()
            if held is None:
                return
            while not lease.is_safe and not held.lost and not self._stopping():
                time.sleep(GATE)
            if held.lost or (self._stopping() and not lease.is_safe):
                continue
            held.started = clock.monotonic()
            claim = held.claim
            # Hooks and receivers of signals run outside of the middleware.
            if databases.in_use():
                databases.prepare("a job")
            outcome = run(claim.raw, claim.queue)
            if databases.in_use():
                databases.settle(partial(_beside, claim.raw))
            finish(held, outcome)


def _beside(raw: bytes) -> str:
    """Return what is told of what runs beside a job."""
    return f"A hook or a receiver of a signal of jid={jid_of(raw)}"
