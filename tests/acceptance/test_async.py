"""Async jobs in a worker process: many at a time, beside threads, and in good order at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.site import SOON, Site, payload
from tests.asyncsite.jobs import (
    AsyncLastWordJob,
    AsyncSleepJob,
    AsyncWaitJob,
    DeafJob,
)
from tests.jobsite.jobs import NoopJob, WaitJob
from tests.support.processes import RunJobs

#: Jobs of acceptance c, and how many of them run at a time.
MANY = 1000
AT_A_TIME = 100

Start = Callable[..., RunJobs]


@pytest.fixture
def start(site: Site) -> Start:
    """Start a worker that knows async jobs."""

    def run(*arguments: str, **overrides: Any) -> RunJobs:
        env = {"JOBQUEUE_TEST_APPS": "tests.asyncsite"}
        return site.run_ready(*arguments, env=env, **overrides)

    return run


def test_a_thousand_jobs_that_wait_are_all_done_once_on_one_event_loop(
    site: Site, start: Start
) -> None:
    jobs = [payload(AsyncSleepJob, f"job{n}", 0.05, queue="aio") for n in range(MANY)]
    site.push_all(jobs)
    worker = start("--concurrency", "1", "--async-concurrency", str(AT_A_TIME))
    site.await_finished(*(f"job{n}" for n in range(MANY)), timeout=3 * SOON)
    worker.term()
    assert worker.wait() == 0
    assert site.journal.starts == site.journal.finishes == {f"job{n}": 1 for n in range(MANY)}
    assert site.counter("processed") == MANY
    assert running_at_most(site) > AT_A_TIME / 2
    assert site.queue("aio") == []
    assert site.leftovers() == []


def running_at_most(site: Site) -> int:
    """Return how many jobs ran at a time."""
    most = now = 0
    for entry in site.journal.entries():
        now += 1 if entry.mark == "S" else -1
        most = max(most, now)
    return most


def test_term_cancels_what_does_not_end_and_gives_it_back_in_its_order(
    site: Site, start: Start
) -> None:
    words = site.journal.path.with_name("last words")
    jobs = [site.push(AsyncSleepJob, f"long{n}", 300, queue="aio") for n in range(20)]
    jobs += [site.push(AsyncLastWordJob, "polite", str(words), queue="aio")]
    jobs += [site.push(AsyncSleepJob, f"behind{n}", 300, queue="aio") for n in range(5)]
    worker = start("--async-concurrency", "21", "--timeout", "1")
    site.await_started(*(f"long{n}" for n in range(20)), "polite")
    worker.term()
    assert worker.wait() == 0
    assert words.read_text() == "cancelled"
    assert site.queue("aio") == [job.encode() for job in jobs]
    assert site.journal.finishes == {}
    assert site.counter("failed") == site.counter("processed") == 0
    assert (site.held(), site.identities(), site.leftovers()) == ({}, [], [])


def test_term_lets_async_jobs_end_in_their_time(site: Site, start: Start) -> None:
    go_on = site.journal.path.with_name("go on")
    for n in range(5):
        site.push(AsyncWaitJob, f"running{n}", str(go_on), queue="aio")
    worker = start()
    site.await_started(*(f"running{n}" for n in range(5)))
    worker.term()
    worker.wait_for_line("5 job(s) run")
    go_on.touch()
    assert worker.wait() == 0
    assert site.journal.finishes == {f"running{n}": 1 for n in range(5)}
    assert site.queue("aio") == []


def test_a_job_that_is_deaf_does_not_keep_the_worker_from_its_end(site: Site, start: Start) -> None:
    deaf = site.push(DeafJob, "deaf", queue="aio")
    worker = start("--timeout", "0")
    site.await_started("deaf")
    worker.term()
    assert worker.wait() == 0
    worker.wait_for_line(f"1 async job(s) do not end ({deaf.jid})")
    assert site.queue("aio") == [deaf.encode()]


def test_threads_that_are_full_leave_the_event_loop_its_jobs_and_the_other_way_round(
    site: Site, start: Start
) -> None:
    go_on = site.journal.path.with_name("go on")
    for n in range(3):
        site.push(WaitJob, f"thread{n}", str(go_on))
    start("--concurrency", "1", "--async-concurrency", "1")
    site.await_started("thread0")
    for n in range(20):
        site.push(AsyncSleepJob, f"quick{n}", 0, queue="aio")
    site.await_finished(*(f"quick{n}" for n in range(20)))
    go_on.touch()
    site.await_finished("thread2")
    go_on.unlink()
    for n in range(3):
        site.push(AsyncWaitJob, f"loop{n}", str(go_on), queue="aio")
    site.await_started("loop0")
    for n in range(20):
        site.push(NoopJob, f"noop{n}")
    site.await_finished(*(f"noop{n}" for n in range(20)))
    assert "loop1" not in site.journal.starts
    assert site.counter("back") == 0  # nothing was claimed in vain


def test_without_an_event_loop_async_jobs_run_in_threads(site: Site, start: Start) -> None:
    worker = start("--async-concurrency", "0")
    site.push(AsyncSleepJob, "job", 0, queue="aio")
    site.await_finished("job")
    assert "async jobs at a time" not in worker.output()
