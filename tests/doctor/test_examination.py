"""The doctor as a whole: nothing to say of a sound patient, and never at a loss for a sick one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError

from django_jobqueue.connection import store
from django_jobqueue.doctor import Finding, Level, examine
from django_jobqueue.models import ReconcilerState
from tests.conftest import JobqueueSettings
from tests.doctor.conftest import found, found_of, work
from tests.support.inside import Inside
from tests.support.server import RedisServer


def test_a_sound_redis_with_a_worker_gives_nothing_to_say(
    private_redis: Callable[..., RedisServer], jobqueue_settings: JobqueueSettings
) -> None:
    server = private_redis(appendonly="yes", maxmemory="100mb")
    jobqueue_settings(REDIS_URL=server.url)
    work("default")
    assert examine() == []


def test_a_redis_that_does_not_answer_is_a_finding(
    private_redis: Callable[..., RedisServer], jobqueue_settings: JobqueueSettings
) -> None:
    server = private_redis()
    jobqueue_settings(REDIS_URL=server.url, SOCKET_TIMEOUT=0.2)
    server.stop()
    (finding,) = examine()
    assert (finding.id, finding.is_fault) == ("unreachable", True)


def test_what_one_check_cannot_see_keeps_no_other_from_looking(inside: Inside) -> None:
    work("default")
    for name in ("schedule", "jq:epoch", "jq:leases", "processes"):
        inside.client.delete(inside.key(name))
        inside.client.lpush(inside.key(name), "x")
    findings = examine()
    fact = found_of(findings, "wrong-type").fact
    assert "1 more" in fact
    assert inside.key("processes") + " (set)" in fact
    assert any(finding.id == "refused" for finding in findings)
    assert len(set(findings)) == len(findings)


def test_a_database_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("gone away\n\x1b[2J")

    monkeypatch.setattr(ReconcilerState.objects, "all", fail)
    finding = found("no-database")
    assert finding is not None
    assert "\\x1b[2J" in finding.fact


def test_the_worst_comes_first_and_all_can_be_written_as_json(inside: Inside) -> None:
    inside.client.lpush(inside.key("dead"), "x")
    findings = examine()
    levels = [list(Level).index(finding.level) for finding in findings]
    assert levels == sorted(levels)
    first = json.loads(json.dumps([finding.as_dict() for finding in findings]))[0]
    assert first["level"] == "fault"
    assert first["is_fault"] is True
    assert set(first) == {"id", "level", "is_fault", "fact", "way_out"}


def test_what_there_was_no_time_for_is_told(inside: Inside) -> None:
    with inside.client.pipeline() as pipe:
        for number in range(2500):
            pipe.set(inside.key(f"other:{number}"), "")
        pipe.execute()
    finding = found("cut-short", budget=0.0)
    assert finding is not None
    assert finding.level is Level.NOTE
    assert found("cut-short") is None


def test_a_finding_stays_as_it_is() -> None:
    finding = Finding("x", Level.NOTE, "a", "b")
    with pytest.raises(FrozenInstanceError):
        finding.fact = "c"  # type: ignore[misc]
    assert not finding.is_fault


def test_another_redis_is_examined_where_one_is_given(
    private_redis: Callable[..., RedisServer], jobqueue_settings: JobqueueSettings
) -> None:
    other = store()
    other.epoch.begin("e")
    jobqueue_settings(REDIS_URL=private_redis().url)
    assert not [finding for finding in examine(other) if finding.id == "no-epoch"]
    assert found("no-epoch") is not None
    other.close()


def test_the_command_takes_the_seconds_that_it_may_look() -> None:
    call_command("jobqueue", "doctor", "--budget", "0", stdout=(out := StringIO()))
    assert "no-process" in out.getvalue()
    for budget in ("x", "-1", "nan", "1e9"):
        with pytest.raises(CommandError, match="no number of seconds"):
            call_command("jobqueue", "doctor", "--budget", budget)
