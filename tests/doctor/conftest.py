"""Somebody who works, and what the doctor says of a kind."""

from __future__ import annotations

import json

import pytest

from django_jobqueue import clock
from django_jobqueue.connection import store
from django_jobqueue.doctor import Finding, examine
from tests.conftest import JobqueueSettings
from tests.support.inside import inside

__all__ = ["inside"]

OURS = "host-1:7:0123456789ab"


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, db: None) -> None:
    jobqueue_settings()


def work(*queues: str, identity: str = OURS, beat: float | None = None, lease: float = 60) -> None:
    """Let a process be alive that works these queues."""
    info = {"hostname": identity.partition(":")[0], "pid": 7, "queues": list(queues)}
    facts: dict[str, str | int | float] = {
        "info": json.dumps(info), "concurrency": 10, "busy": 0, "quiet": "false",
        "beat": store().checkup.time() if beat is None else beat,
    }  # fmt: skip
    store().processes.record(identity, facts, {})
    store().claims.join(identity, lease)
    store().epoch.begin("e")


def found(id: str, *, budget: float = 10.0) -> Finding | None:
    """Return what an examination says of a kind, which it says once at most."""
    findings = [finding for finding in examine(budget=budget) if finding.id == id]
    assert len(findings) <= 1
    return findings[0] if findings else None


def found_of(findings: list[Finding], id: str) -> Finding:
    """Return the one finding of a kind."""
    (finding,) = (each for each in findings if each.id == id)
    return finding


def ago(seconds: float) -> float:
    """Return a moment in the past, in epoch seconds."""
    return clock.now() - seconds
