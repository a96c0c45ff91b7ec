"""Which attempts are measured, and what becomes of them at the end of a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue import Discard, Job, Payload, Skip, Snooze
from django_jobqueue.conf import get_settings
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.testing import disable_job
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.tracker import Tracker
from tests.conftest import JobqueueSettings, StartRunJobs
from tests.jobsite.jobs import NoopJob
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

ACTS: dict[str, Callable[[], Any]] = {}


class MeasuredJob(Job):
    """Does what the test wants."""

    def perform(self, act: str) -> None:
        """Act."""
        ACTS[act]()


class UnmadeJob(MeasuredJob):
    """Cannot be made."""

    def __init__(self) -> None:
        raise ValueError


def refuse(call_next: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Let no job pass."""
    return lambda job: None


NAME = wire_name(MeasuredJob)


class Bench:
    """An executor that is measured, with a clock that jobs move."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.tracker = Tracker()

    def run(self, act: Callable[[], Any], name: str = NAME, **fields: Any) -> None:
        """Run a job that does this."""

        def acting() -> None:
            self.clock.advance(0.4)
            act()

        ACTS["act"] = acting
        executor = Executor(get_settings(), lambda: False, tracker=self.tracker)
        payload = {"class": name, "args": ["act"], "jid": "c" * 24, **fields}
        executor.run(Payload(payload).encode(), "default")

    def taken(self) -> dict[str, tuple[int, int, int]]:
        """Return attempts, failures and ms by class."""
        return {n: (c.processed, c.failed, c.ms) for n, c in self.tracker.take().items()}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, jobqueue_settings: JobqueueSettings) -> Bench:
    """Nothing is measured yet."""
    # None: that of the database would use one that these tests have not asked for.
    jobqueue_settings(SERVER_MIDDLEWARE=[])
    return Bench(freeze(monkeypatch))


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_an_attempt_that_succeeds_is_counted_with_its_time(bench: Bench) -> None:
    bench.run(lambda: None)
    bench.run(lambda: None)
    assert bench.taken() == {NAME: (2, 0, 800)}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_an_attempt_that_fails_is_counted_without_its_time(
    bench: Bench, error: BaseException
) -> None:
    bench.run(raising(error))
    assert bench.taken() == {NAME: (1, 1, 0)}


@pytest.mark.parametrize("error", [Skip(), Discard(), Snooze(5)])
def test_what_is_not_a_failure_is_counted_as_none(bench: Bench, error: BaseException) -> None:
    bench.run(raising(error))
    assert bench.taken() == {NAME: (1, 0, 400)}


def test_a_job_that_a_server_middleware_skips_is_counted_as_sidekiq_does(
    bench: Bench, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(SERVER_MIDDLEWARE=[f"{__name__}.refuse"])
    bench.run(lambda: None)
    assert bench.taken() == {NAME: (1, 0, 0)}


def test_a_job_that_never_came_to_the_middleware_is_not_counted(bench: Bench) -> None:
    bench.run(lambda: None, expires_in=5, enqueued_at=int((bench.clock.now - 60) * 1000))
    bench.run(lambda: None, name=wire_name(UnmadeJob))
    with disable_job(MeasuredJob):
        bench.run(lambda: None)
    assert bench.taken() == {}


def test_a_class_that_nobody_registered_makes_no_key(bench: Bench) -> None:
    bench.run(lambda: None, name="somebody.elses|Job")
    assert bench.taken() == {}


def test_a_graceful_stop_loses_no_metrics(
    run_jobs: StartRunJobs, inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings()
    NoopJob.perform_bulk([(str(n),) for n in range(25)])
    worker = run_jobs("--burst", "--concurrency", "2")
    assert worker.wait() == 0, worker.output()
    found: dict[str, int] = {}
    for key in inside.names():
        if key.startswith("j|") and len(key.rpartition(":")[2]) == 2:
            for field, number in inside.client.hgetall(inside.key(key)).items():
                found[field.decode()] = found.get(field.decode(), 0) + int(number)
    name = wire_name(NoopJob)
    assert found[f"{name}|p"] == 25
    assert f"{name}|f" not in found
