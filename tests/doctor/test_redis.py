"""What the doctor says of the server itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from django_jobqueue.api import Server, ServerReport
from django_jobqueue.connection import store
from django_jobqueue.doctor import Finding, Level, examine
from django_jobqueue.store.acl import Missing
from tests.conftest import JobqueueSettings
from tests.support import acl
from tests.support.server import RedisServer

#: One that nothing can be said against.
SOUND = ServerReport(
    address="redis:6379", product="redis", version="8.0.1", redis_version="8.0.1",
    mode="standalone", role="master", replicas=1, uptime=100, eviction="noeviction", evicted=0,
    used_memory=10_000_000, peak_memory=20_000_000, max_memory=100_000_000, appends=True,
    append_ok=True, snapshots=True, snapshot_ok=True, snapshot_age=60.0, unsaved=3, clients=4,
    blocked_clients=1, max_clients=100, commands_per_second=7, keys={"db0": 9},
)  # fmt: skip

#: The kinds that this room tells.
KINDS = {
    "sentinel", "too-old", "no-hash-tag", "replica", "evicts", "no-memory-limit", "memory",
    "no-persistence", "snapshots-only", "write-failed", "rights", "no-password", "plain-text",
}  # fmt: skip

Told = Callable[..., list[Finding]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return a function that gives a server some properties and returns what is said of it."""

    def tell(**facts: Any) -> list[Finding]:
        monkeypatch.setattr(Server, "facts", lambda self: replace(SOUND, **facts))
        return [finding for finding in examine() if finding.id in KINDS]

    return tell


@pytest.mark.parametrize(
    ("facts", "id", "level"),
    [
        ({"mode": "sentinel"}, "sentinel", Level.FAULT),
        ({"redis_version": "6.0.9", "version": "6.0.9"}, "too-old", Level.FAULT),
        ({"role": "slave"}, "replica", Level.FAULT),
        ({"eviction": "allkeys-lru"}, "evicts", Level.FAULT),
        ({"max_memory": 0}, "no-memory-limit", Level.NOTE),
        ({"used_memory": 81_000_000}, "memory", Level.WARNING),
        ({"used_memory": 96_000_000}, "memory", Level.FAULT),
        ({"appends": False, "snapshots": False}, "no-persistence", Level.WARNING),
        ({"appends": False}, "snapshots-only", Level.NOTE),
        ({"append_ok": False}, "write-failed", Level.FAULT),
        ({"snapshot_ok": False}, "write-failed", Level.FAULT),
    ],
)
def test_what_is_wrong_with_a_server_is_told_once(
    told: Told, facts: dict[str, Any], id: str, level: Level
) -> None:
    assert [(finding.id, finding.level) for finding in told(**facts)] == [(id, level)]


def test_what_a_managed_server_keeps_to_itself_is_no_fault(told: Told) -> None:
    unknown = dict.fromkeys(
        ("replicas", "uptime", "used_memory", "max_memory", "appends", "append_ok", "snapshots",
         "snapshot_ok", "snapshot_age"),
    )  # fmt: skip
    assert told(**unknown, eviction="", role="", redis_version="", mode="") == []


def test_eviction_that_the_settings_allow_is_no_fault(
    told: Told, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(ALLOW_EVICTION=True)
    (finding,) = told(eviction="volatile-lru")
    assert finding.level is Level.WARNING


def test_a_cluster_without_a_hash_tag_is_a_fault(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store().permissions, "missing", lambda: Missing([], []))
    monkeypatch.setattr(store().keys, "prefix", "{x}")
    assert told(mode="cluster") == []
    monkeypatch.setattr(store().keys, "prefix", "")
    assert [finding.id for finding in told(mode="cluster")] == ["no-hash-tag"]


def test_rights_that_a_worker_would_miss_are_told(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store().permissions, "missing", lambda: Missing(["zadd"], []))
    (finding,) = told()
    assert finding.id == "rights"
    assert "ZADD" in finding.fact


@pytest.mark.parametrize(
    ("peer", "allowed", "expected"),
    [
        ("127.0.0.1", False, {}),
        ("", False, {}),
        ("10.0.0.7", False, {"no-password": Level.WARNING}),
        ("fe80::1%eth0", False, {"no-password": Level.WARNING}),
        ("8.8.8.8", False, {"no-password": Level.FAULT, "plain-text": Level.WARNING}),
        ("8.8.8.8", True, {"no-password": Level.WARNING, "plain-text": Level.WARNING}),
    ],
)
def test_a_server_that_lets_everybody_in_is_told_by_where_it_is(
    told: Told,
    jobqueue_settings: JobqueueSettings,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    peer: str,
    allowed: bool,
    expected: dict[str, Level],
) -> None:
    open_to_all = redis_server.url.replace(acl.login(), "")
    jobqueue_settings(REDIS_URL=open_to_all, ALLOW_NO_AUTH=allowed)
    monkeypatch.setattr(store().server, "peer", lambda: peer)
    monkeypatch.setattr(store().permissions, "missing", lambda: Missing([], []))
    assert {finding.id: finding.level for finding in told()} == expected
