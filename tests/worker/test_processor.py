"""The threads that run jobs: nothing ends them, and a closed gate keeps them from starting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue import Job, Payload
from django_jobqueue import clock as package_clock
from django_jobqueue.conf import get_settings
from django_jobqueue.store.claims import BURY, RETRY, Claim
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.lane import Lanes
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.processor import Processor
from tests.support.clocks import ShiftedClock, shift
from tests.support.polling import wait_until

LEASE = 60.0

#: The threads in which ``ActJob`` ran.
THREADS: list[int] = []


class Leave(BaseException):
    """Outside of ``Exception``."""


class ActJob(Job):
    """Raises what its argument names."""

    def perform(self, kind: str) -> None:
        """Note the thread, and raise."""
        THREADS.append(threading.get_ident())
        if kind:
            raise {
                "ValueError": ValueError,
                "SystemExit": SystemExit,
                "KeyboardInterrupt": KeyboardInterrupt,
                "GeneratorExit": GeneratorExit,
                "MemoryError": MemoryError,
                "Leave": Leave,
            }[kind]


class LeavingJob(Job):
    """Fails, and its hook opens a transaction and leaves it so."""

    def perform(self, kind: str) -> None:
        """Fail."""
        raise ValueError

    def retry_in(self, count: int, error: BaseException) -> None:
        """Write a row that nobody commits."""
        transaction.atomic(using="other").__enter__()
        with transaction.get_connection("other").cursor() as cursor:
            cursor.execute("INSERT INTO note VALUES ('left')")


class Fetcher:
    """As much of a fetcher as a processor sees."""

    def __init__(self) -> None:
        self.lanes = Lanes(WorkerOptions(QueueOrder({"low": 1})))
        self.inbox = self.lanes.threads.inbox
        self.done: queue.SimpleQueue[tuple[Held, Outcome | None]] = queue.SimpleQueue()

    def finish(self, held: Held, outcome: Outcome | None) -> None:
        self.done.put((held, outcome))


class Rig:
    """One processor with what is around it."""

    def __init__(self) -> None:
        self.fetcher = cast(Any, Fetcher())
        self.lease = Lease(LEASE)
        self.stopping = threading.Event()
        executor = Executor(get_settings(), self.stopping.is_set)
        self.processor = Processor(1, self.fetcher, executor, self.lease, self.stopping.is_set)
        self.processor.start()

    def give(self, raw: bytes) -> Held:
        held = Held(Claim("1:1:low", "low", raw), 0.0)
        self.fetcher.inbox.put(held)
        return held

    def result(self) -> tuple[Held, Outcome | None]:
        found: tuple[Held, Outcome | None] = self.fetcher.done.get(timeout=10)
        return found

    def end(self) -> None:
        self.stopping.set()
        self.fetcher.inbox.put(None)
        self.processor._thread.join(10)
        assert not self.processor._thread.is_alive()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """A clock that the test can move ahead."""
    return shift(monkeypatch)


@pytest.fixture
def rig(settings: Any, clock: ShiftedClock) -> Iterator[Rig]:
    """A processor that runs."""
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    THREADS.clear()
    made = Rig()
    yield made
    made.end()


def job(kind: str = "", cls: type[Job] = ActJob) -> bytes:
    name = f"{cls.__module__}.{cls.__name__}"
    return Payload({"class": name, "args": [kind], "jid": "b" * 24}).encode()


def test_a_job_is_run_and_its_outcome_handed_over(rig: Rig) -> None:
    held = rig.give(job())
    assert rig.result() == (held, None)
    assert held.started is not None


@pytest.mark.parametrize(
    "kind",
    ["ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "Leave"],
)
def test_whatever_a_job_raises_the_thread_goes_on(rig: Rig, kind: str) -> None:
    rig.give(job(kind))
    _, outcome = rig.result()
    assert outcome is not None
    assert outcome.verb == RETRY
    rig.give(job())
    assert rig.result()[1] is None
    assert len(THREADS) == 2
    assert len(set(THREADS)) == 1


def test_a_transaction_that_a_hook_left_open_ends_before_the_next_job(
    other_database: BaseDatabaseWrapper, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.give(job(cls=LeavingJob))
    rig.result()
    with other_database.cursor() as cursor:
        # A writer would wait for it, and time out.
        cursor.execute("INSERT INTO note VALUES ('after')")
        cursor.execute("SELECT word FROM note")
        assert cursor.fetchall() == [("after",)]
    told = f"A hook or a receiver of a signal of jid={'b' * 24} left a transaction open"
    assert [told in message for message in caplog.messages].count(True) == 1


def test_junk_ends_nothing_either(rig: Rig) -> None:
    for raw in (b"junk", b"\xff", job()[:-1] + b',"expires_in":' + b"9" * 400 + b"}"):
        rig.give(raw)
    assert [rig.result()[1] is None for _ in range(3)] == [False, False, True]
    rig.give(b"")
    outcome = rig.result()[1]
    assert outcome is not None
    assert outcome.verb == BURY


def test_a_closed_gate_keeps_a_job_from_starting_until_it_opens(
    rig: Rig, clock: ShiftedClock
) -> None:
    clock.advance(LEASE)
    held = rig.give(job())
    wait_until(rig.fetcher.inbox.empty, what="the job to be taken")
    # The processor has looked at the gate, or will: it cannot pass before it opens.
    assert held.started is None
    rig.lease.audited(package_clock.monotonic())
    assert rig.result() == (held, None)
    assert held.started is not None


def test_a_job_that_was_lost_behind_the_gate_is_never_started(
    rig: Rig, clock: ShiftedClock
) -> None:
    clock.advance(LEASE)
    lost = rig.give(job())
    lost.lost = True
    wait_until(rig.fetcher.inbox.empty, what="the job to be taken")
    rig.lease.audited(package_clock.monotonic())
    held = rig.give(job())
    assert rig.result() == (held, None)
    assert lost.started is None
    assert len(THREADS) == 1


def test_a_stop_behind_the_gate_leaves_the_job_unstarted(rig: Rig, clock: ShiftedClock) -> None:
    clock.advance(LEASE)
    held = rig.give(job())
    wait_until(rig.fetcher.inbox.empty, what="the job to be taken")
    rig.end()
    assert held.started is None
    assert rig.fetcher.done.empty()
    assert THREADS == []
