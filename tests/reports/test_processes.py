"""The processes, what they run, and those that say nothing any more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.reports.processes import processes, work
from tests.api.samples import jid_of, payload
from tests.conftest import JobqueueSettings

ALIVE, SILENT = "host:1:0123456789ab", "host:2:ba9876543210"


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def record(identity: str, work: dict[str, str]) -> None:
    info: dict[str, Any] = {
        "hostname": "host", "pid": 1, "queues": ["high", "low"], "weights": [{"high": 5, "low": 1}],
        "concurrency": 4, "started_at": 1_700_000_000.0, "version": "\x1b[31m",
    }  # fmt: skip
    facts: dict[str, str | int | float] = {
        "info": json.dumps(info), "concurrency": 4, "busy": 1, "rss": 2048, "quiet": "true",
    }  # fmt: skip
    store().processes.record(identity, facts, work)


def test_processes_tell_what_they_are_and_who_is_silent() -> None:
    record(ALIVE, {})
    for identity in (ALIVE, SILENT):
        store().claims.join(identity, 60.0)
    found = processes()
    (process,) = found.processes
    assert (process.identity, process.queues) == (ALIVE, ("high", "low"))
    assert (process.busy, process.concurrency, process.utilisation) == (1, 4, 0.25)
    assert (process.rss, process.quiet) == (2048 * 1024, True)
    assert (found.busy, found.concurrency, found.rss) == (1, 4, 2048 * 1024)
    assert list(found.silent) == [SILENT]
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_runs_is_told_without_its_arguments() -> None:
    job = payload(7, args=["sesame"])
    facts = {"queue": "low", "payload": job.encode().decode(), "run_at": 1_700_000_000}
    record(ALIVE, {"thread": json.dumps(facts)})
    (running,) = work().jobs
    assert (running.jid, running.queue, running.process) == (jid_of(7), "low", ALIVE)
    assert running.elapsed > 0
    assert "sesame" not in json.dumps(work().as_dict())
