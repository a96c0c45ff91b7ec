"""The event loop that runs async jobs: so many at a time, and nothing ends it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import pytest

from django_jobqueue import Job, clock
from django_jobqueue.conf import get_settings
from django_jobqueue.store.claims import BACK, BURY, RETRY, Claim
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.job_loop import JobLoop
from django_jobqueue.worker.lane import Lane
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.outcome import Outcome
from tests.support.clocks import ShiftedClock, shift
from tests.support.polling import wait_until
from tests.worker import async_jobs
from tests.worker.async_jobs import ACTS, SEEN, LoopJob, of

LEASE = 60.0
SLOTS = 3


class Fetcher:
    """As much of a fetcher as the loop sees."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue[tuple[Held, Outcome | None]] = queue.SimpleQueue()
        self.calls = 0

    def finish_all(self, ended: Iterable[tuple[Held, Outcome | None]]) -> None:
        self.calls += 1
        for each in ended:
            self.done.put(each)


class Rig:
    """A loop with what is around it."""

    def __init__(self) -> None:
        self.fetcher = cast(Any, Fetcher())
        self.lane = Lane(SLOTS)
        self.lease = Lease(LEASE)
        self.is_stopping = False
        executor = Executor(get_settings(), lambda: self.is_stopping)
        self.loop = JobLoop(self.lane, self.fetcher, executor, self.lease)

    def give(self, *acts: str, **fields: Any) -> list[Held]:
        given = [
            Held(Claim(f"1:{n}:low", "low", of(LoopJob, act, **fields).encode()), 0.0)
            for n, act in enumerate(acts)
        ]
        self.lane.give(given)
        return given

    def result(self) -> tuple[Held, Outcome | None]:
        found: tuple[Held, Outcome | None] = self.fetcher.done.get(timeout=20)
        return found

    def results(self, count: int) -> list[Held]:
        return [self.result()[0] for _ in range(count)]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """A clock that the test can move ahead."""
    return shift(monkeypatch)


@pytest.fixture
def rig(settings: Any, time: ShiftedClock) -> Iterator[Rig]:
    """A loop that runs."""
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    async_jobs.clear()
    made = Rig()
    made.loop.start()
    yield made
    made.is_stopping = True
    made.loop.cancel(10)
    made.loop.stop(10)
    async_jobs.clear()


def test_jobs_are_run_and_their_outcomes_handed_over(rig: Rig) -> None:
    ACTS["fail"] = fail
    good, bad = rig.give("nothing", "fail")
    found = dict((rig.result(), rig.result()))
    assert found[good] is None
    outcome = found[bad]
    assert outcome is not None
    assert outcome.verb == RETRY
    assert good.started is not None


async def fail(job: Job) -> None:
    raise ValueError


def test_jobs_that_come_together_and_end_together_are_handed_over_in_one_call(rig: Rig) -> None:
    together = asyncio.Barrier(SLOTS)

    async def meet(job: Job) -> None:
        await together.wait()

    ACTS["meet"] = meet
    rig.give(*["meet"] * SLOTS)
    rig.results(SLOTS)
    assert rig.fetcher.calls == 1


def test_no_more_jobs_run_at_a_time_than_there_is_room_for(rig: Rig) -> None:
    now: list[int] = [0]

    async def count(job: Job) -> None:
        now[0] += 1
        SEEN.append(now[0])
        await asyncio.sleep(0)
        now[0] -= 1

    ACTS["count"] = count
    given = rig.give(*["count"] * 30)
    assert set(rig.results(30)) == set(given)
    assert max(SEEN) == SLOTS


def test_a_closed_gate_keeps_jobs_where_they_can_be_given_back(
    rig: Rig, time: ShiftedClock
) -> None:
    time.advance(LEASE)
    (held,) = rig.give("nothing")
    wait_until(lambda: rig.loop._watches_gate, what="the look at the gate")
    assert held.started is None
    assert not rig.lane.inbox.empty()
    rig.lease.audited(clock.monotonic())
    assert rig.result() == (held, None)


def test_a_job_that_was_lost_before_it_began_is_never_started(rig: Rig, time: ShiftedClock) -> None:
    time.advance(LEASE)
    lost, held = rig.give("nothing", "nothing")
    lost.lost = True
    rig.lease.audited(clock.monotonic())
    assert rig.result() == (held, None)
    assert lost.started is None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_an_interpreter_ends_no_loop_also_out_of_a_task_of_the_job(
    rig: Rig, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        raise kind

    async def start_one(job: Job) -> None:
        await asyncio.ensure_future(leave())

    ACTS["leave"] = start_one
    rig.give("leave")
    _, outcome = rig.result()
    assert outcome is not None
    assert outcome.verb == RETRY
    assert "The event loop was left; it goes on" in caplog.text
    (held,) = rig.give("nothing")
    assert rig.result() == (held, None)


def test_a_job_that_stops_the_loop_stops_nobody(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def stop_all(job: Job) -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)

    ACTS["stop all"] = stop_all
    (held,) = rig.give("stop all")
    assert rig.result() == (held, None)
    assert "The event loop was stopped by a job; it goes on" in caplog.text
    (held,) = rig.give("nothing")
    assert rig.result() == (held, None)


def test_it_can_be_seen_where_a_job_waits(rig: Rig) -> None:
    rig.give("forever")
    wait_until(lambda: SEEN, what="the job")
    told = rig.loop.stacks()
    assert told.startswith(f"async job {'b' * 24}\n")
    assert "await asyncio.Event().wait()" in told


def test_junk_ends_nothing_either(rig: Rig) -> None:
    junk = Held(Claim("1:1:low", "low", b"junk"), 0.0)
    rig.lane.give([junk])
    _, outcome = rig.result()
    assert outcome is not None
    assert outcome.verb == BURY


def test_at_the_end_jobs_are_cancelled_the_newest_first_and_go_back(rig: Rig) -> None:
    given = rig.give(*["forever"] * SLOTS)
    wait_until(lambda: len(SEEN) == SLOTS, what="the jobs")
    rig.is_stopping = True
    rig.loop.cancel(20)
    assert [rig.result() for _ in given] == [(held, Outcome(BACK)) for held in reversed(given)]


def test_the_end_waits_for_last_words(rig: Rig) -> None:
    async def polite(job: Job) -> None:
        try:
            await ACTS["forever"](job)
        finally:
            await asyncio.sleep(0.05)
            SEEN.append("said")

    ACTS["polite"] = polite
    rig.give("polite")
    wait_until(lambda: SEEN, what="the job")
    rig.is_stopping = True
    rig.loop.cancel(20)
    assert SEEN == ["began", "said"]


def test_the_end_does_not_wait_for_the_deaf(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    enough = asyncio.Event()

    async def deaf(job: Job) -> None:
        SEEN.append("began")
        while not enough.is_set():
            with suppress(asyncio.CancelledError):
                await enough.wait()

    ACTS["deaf"] = deaf
    (held,) = rig.give("deaf")
    wait_until(lambda: SEEN, what="the job")
    rig.is_stopping = True
    rig.loop.cancel(0.05)
    assert f"1 async job(s) do not end ({'b' * 24})" in caplog.messages
    assert rig.fetcher.done.empty()
    rig.loop._loop.call_soon_threadsafe(enough.set)
    assert rig.result() == (held, None)


def test_without_a_job_the_end_is_at_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.loop.cancel(20)
    assert caplog.messages == []
