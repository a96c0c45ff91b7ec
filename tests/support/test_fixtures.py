"""The fixtures of conftest.py: a prefix each, settings that point there, workers that run there."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings

from django_jobqueue.connection import store
from tests.conftest import JobqueueSettings, StartRunJobs
from tests.jobsite.jobs import FAILURES, FailJob, NoopJob, WaitJob
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.prefixes import new_prefix
from tests.support.server import RedisServer

#: Prefixes that tests of this module had, each told by the test itself.
seen_prefixes: list[str] = []


@pytest.mark.parametrize("run", [1, 2])
def test_every_test_has_a_prefix_of_its_own_and_finds_it_empty(
    redis_server: RedisServer, key_prefix: str, run: int
) -> None:
    with redis_server.client() as client:
        left = {old: client.keys(f"{old}*") for old in seen_prefixes}
        client.set(f"{key_prefix}word", run)
    assert key_prefix not in left
    assert not any(left.values())
    seen_prefixes.append(key_prefix)


def test_settings_point_to_the_server_and_prefix_of_the_test(
    jobqueue_settings: JobqueueSettings, redis_server: RedisServer, key_prefix: str
) -> None:
    assert jobqueue_settings(LEASE=20) == key_prefix
    jid = NoopJob.perform_async("1")
    assert jid is not None
    with redis_server.client() as client:
        (raw,) = client.lrange(f"{key_prefix}queue:default", 0, -1)
    assert jid.encode() in raw
    assert settings.JOBQUEUE["LEASE"] == 20


def test_a_later_call_replaces_the_settings(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(LEASE=20)
    first = store()
    other = new_prefix("other")
    assert jobqueue_settings(KEY_PREFIX=other) == other
    assert "LEASE" not in settings.JOBQUEUE
    assert store() is not first


def test_without_the_fixture_no_server_is_known() -> None:
    assert settings.JOBQUEUE == {}
    assert not settings.DEBUG


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_job_raises_what_was_asked(
    kind: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailJob, "jid", "0" * 24)
    try:
        FailJob().perform("1", kind)
    except BaseException as error:
        assert type(error).__name__ == kind  # noqa: PT017 - pytest.raises lets KeyboardInterrupt out
    assert (journal.starts["1"], journal.finishes["1"]) == (1, 0)


def test_a_worker_runs_the_jobs_of_the_test(
    jobqueue_settings: JobqueueSettings, run_jobs: StartRunJobs, journal: Journal
) -> None:
    jobqueue_settings()
    for ident in "abc":
        NoopJob.perform_async(ident)
    worker = run_jobs("--burst", "--concurrency", "2")
    assert worker.wait() == 0, worker.output()
    assert journal.finishes == Counter("abc")


def test_a_worker_can_be_watched_and_stopped(
    jobqueue_settings: JobqueueSettings, run_jobs: StartRunJobs, journal: Journal, tmp_path: Path
) -> None:
    jobqueue_settings()
    WaitJob.perform_async("a", str(tmp_path / "go"))
    worker = run_jobs("--processes", "2", "--concurrency", "1")
    wait_until(lambda: journal.starts["a"], 30, lambda: f"the start of a\n{worker.output()}")
    assert len(worker.children()) >= 2
    worker.term()
    (tmp_path / "go").touch()
    assert worker.wait() == 0, worker.output()
    assert journal.finishes == Counter("a")


def test_closing_a_worker_kills_it_with_its_children(run_jobs: StartRunJobs) -> None:
    worker = run_jobs()
    wait_until(worker.children, 30, lambda: f"a child\n{worker.output()}")
    worker.close()
    assert worker.members() == []
    assert worker.returncode == -signal.SIGKILL
