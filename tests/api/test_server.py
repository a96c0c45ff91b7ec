"""What a server tells of itself: all that it says, nothing that is secret, and gaps as gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue.api import Server
from django_jobqueue.connection import store
from django_jobqueue.store.link import Link
from django_jobqueue.store.store import Store
from tests.conftest import JobqueueSettings
from tests.support.server import RedisServer


def test_it_tells_of_itself(
    jobqueue_settings: JobqueueSettings,
    redis_server: RedisServer,
    count_round_trips: Callable[[], int],
) -> None:
    jobqueue_settings()
    store().queues.push({"low": [b"1"]})
    count_round_trips()
    facts = Server().facts()
    assert count_round_trips() == 2
    assert facts.product == ("valkey" if redis_server.is_valkey else "redis")
    assert facts.version[0].isdigit()
    assert facts.redis_version[0].isdigit()
    assert not facts.is_too_old
    assert not facts.evicts
    assert (facts.role, facts.eviction, facts.evicted) == ("master", "noeviction", 0)
    assert facts.mode in ("standalone", "cluster")
    assert (facts.appends, facts.append_ok, facts.snapshot_ok) == (True, True, True)
    # A user with the rights that we ask for may not ask for settings.
    assert facts.snapshots in (False, None)
    assert sum(facts.keys.values()) >= 2
    numbers = dataclasses.asdict(facts)
    for name in ("snapshot_age", "uptime", "replicas", "unsaved", "max_clients", "max_memory"):
        assert numbers[name] >= 0
    for name in ("used_memory", "peak_memory", "clients"):
        assert numbers[name] > 0
    assert Server().ping() >= 0


def test_its_address_has_no_password(redis_server: RedisServer) -> None:
    url = "redis://someone:hidden@127.0.0.1:6399/3"
    server = Server(store=Store(url))
    assert "127.0.0.1:6399" in server.address
    assert "hidden" not in repr(server) + server.address
    assert "someone" not in repr(server) + server.address


def test_a_full_one_is_told_by_its_share(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis(maxmemory="100mb", maxmemory_policy="allkeys-lru", appendonly="no")
    facts = Server(store=Store(server.url)).facts()
    assert facts.evicts
    assert facts.appends is False
    assert facts.fullness is not None
    assert 0 < facts.fullness < 1


def test_what_it_keeps_to_itself_is_left_out(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings()
    told: dict[str, dict[str, Any]] = {
        "server": {"server_name": "other", "redis_version": "7.1"},
        "keyspace": {"db0": {"keys": 3}, "db1": "?"},
        "memory": {"used_memory": "hidden", "maxmemory": 0},
    }
    monkeypatch.setattr(
        Link, "pipeline", lambda self, commands: [told.get(name, {}) for _, name in commands]
    )
    monkeypatch.setattr(Link, "call", lambda self, *command: [])
    facts = Server().facts()
    assert (facts.product, facts.version, facts.keys) == ("other", "7.1", {"db0": 3})
    told_of = {"address", "product", "version", "redis_version", "keys", "max_memory"}
    for name, value in dataclasses.asdict(facts).items():
        assert name in told_of or value in (None, ""), name
    assert facts.fullness is None
    told["server"] = {"valkey_version": "8.0.1", "redis_version": "7.2.4"}
    assert (Server().facts().product, Server().facts().version) == ("valkey", "8.0.1")
