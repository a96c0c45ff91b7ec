"""A job while it runs: what it may ask, and how ``perform`` is called."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.exceptions import InvalidArguments
from django_jobqueue.job.attempt import Attempt
from tests.support.clocks import freeze


class PlainJob(Job):
    """Adds."""

    def perform(self, a: int, b: int = 1) -> int:
        """Return the sum."""
        return a + b


class AsyncJob(Job):
    """Waits for other coroutines."""

    async def perform(self, a: int) -> str:
        """Return what two tasks made of it, and which event loop ran them."""
        first, second = await asyncio.gather(self.double(a), self.double(a + 1))
        return f"{first} {second} {asyncio.get_running_loop().is_running()}"

    async def double(self, number: int) -> int:
        """Give others a turn first."""
        await asyncio.sleep(0)
        return number * 2


class AsyncFailJob(Job):
    """Fails in a coroutine."""

    async def perform(self, name: str) -> None:
        """Raise."""
        await asyncio.sleep(0)
        raise {"ValueError": ValueError, "SystemExit": SystemExit}[name]("in a coroutine")


word: ContextVar[str] = ContextVar("word", default="before")


class ContextJob(Job):
    """Changes its context."""

    async def perform(self) -> str:
        """Return what it was."""
        before = word.get()
        word.set("after")
        return before


class TimedJob(PlainJob):
    """Should take ten seconds."""

    timeout = timedelta(seconds=10)


def attempt_of(*args: Any, started: float = 0.0, **fields: Any) -> Attempt:
    payload = Payload({"class": "x", "args": list(args), "jid": "b" * 24, **fields})
    return Attempt(payload, payload.queue, started)


def test_a_job_knows_its_payload_its_id_and_its_attempt() -> None:
    attempt = attempt_of(1, queue="low", retry_count=2)
    job = PlainJob.for_attempt(attempt)
    assert isinstance(job, PlainJob)
    assert job.payload is attempt.payload
    assert job.jid == "b" * 24
    assert job.attempt == 4


def test_a_job_is_made_anew_for_each_attempt() -> None:
    assert PlainJob.for_attempt(attempt_of(1)) is not PlainJob.for_attempt(attempt_of(1))


def test_perform_gets_the_arguments_and_its_result_comes_back() -> None:
    attempt = attempt_of(1, 2)
    job = PlainJob.for_attempt(attempt)
    assert not attempt.performed
    assert job.run() == 3
    assert attempt.performed


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_arguments_that_do_not_fit_make_no_job(args: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArguments, match=r"^PlainJob\.perform\(\) cannot take"):
        PlainJob.for_attempt(attempt_of(*args))


def test_an_async_perform_runs_to_its_end_on_an_event_loop() -> None:
    assert AsyncJob.for_attempt(attempt_of(1)).run() == "2 4 True"


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_what_a_coroutine_raises_comes_out(kind: type[BaseException]) -> None:
    with pytest.raises(kind, match="in a coroutine"):
        AsyncFailJob.for_attempt(attempt_of(kind.__name__)).run()


def test_a_job_without_a_perform_says_so() -> None:
    class EmptyJob(Job):
        abstract = True

    with pytest.raises(NotImplementedError, match=r"EmptyJob has no perform\(\)"):
        EmptyJob.for_attempt(attempt_of()).run()


def test_a_job_sees_whether_the_worker_wants_to_stop() -> None:
    wish = [False]
    attempt = attempt_of(1)
    attempt.stopping = lambda: wish[0]
    job = PlainJob.for_attempt(attempt)
    seen = [job.stopping]
    wish[0] = True
    seen.append(job.stopping)
    assert seen == [False, True]
    assert not PlainJob.for_attempt(attempt_of(1)).stopping


def test_the_time_that_is_left_runs_out_and_goes_on_below_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = freeze(monkeypatch)
    job = TimedJob.for_attempt(attempt_of(1, started=clock.monotonic))
    assert job.time_left == 10
    clock.advance(4)
    assert job.time_left == 6
    clock.advance(10)
    assert job.time_left == -4


def test_without_a_timeout_no_time_is_left_or_lacking() -> None:
    assert PlainJob.for_attempt(attempt_of(1)).time_left is None


def test_a_job_may_be_told_that_it_runs_in_line() -> None:
    attempt = attempt_of(1)
    assert not PlainJob.for_attempt(attempt).is_inline
    attempt.inline = True
    assert PlainJob.for_attempt(attempt).is_inline


def test_a_job_that_a_test_makes_itself_can_be_asked_too() -> None:
    job = PlainJob()
    assert job.perform(1, 2) == 3
    assert len(job.jid) == 24
    assert job.jid == job.jid
    assert (job.attempt, job.stopping, job.time_left) == (1, False, None)


def test_the_defaults_of_a_job_decide_nothing() -> None:
    job = PlainJob()
    assert job.retry_in(0, ValueError()) is None
    job.on_exhausted(ValueError())


def test_what_a_coroutine_sets_of_its_context_is_gone_with_it() -> None:
    assert ContextJob.for_attempt(attempt_of()).run() == "before"
    assert ContextJob.for_attempt(attempt_of()).run() == "before"
