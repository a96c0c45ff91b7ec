"""The small drawers: process records, counters, what the server tells of itself, key names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue.store.keys import Field, Keys
from django_jobqueue.store.processes import RECORD_TTL
from django_jobqueue.store.server import ServerFacts
from django_jobqueue.store.store import Store
from tests.support.server import RedisServer

ME = "host:1:abc"


def test_a_record_is_written_for_a_while(store: Store, raw: redis.Redis) -> None:
    store.processes.record(ME, {"info": "{}", "busy": 2, "beat": 1.5}, {"t1": "{}"})
    keys = store.keys
    assert raw.hgetall(keys.process(ME)) == {b"info": b"{}", b"busy": b"2", b"beat": b"1.5"}
    assert raw.hgetall(keys.work(ME)) == {b"t1": b"{}"}
    assert 0 < raw.ttl(keys.process(ME)) <= RECORD_TTL
    assert 0 < raw.ttl(keys.work(ME)) <= RECORD_TTL
    assert store.processes.identities() == [ME]


def test_the_work_of_a_record_is_written_anew_each_time(store: Store, raw: redis.Redis) -> None:
    store.processes.record(ME, {"busy": 2}, {"t1": "{}", "t2": "{}"})
    store.processes.record(ME, {"busy": 1}, {"t2": "{}"})
    assert raw.hkeys(store.keys.work(ME)) == [b"t2"]
    store.processes.record(ME, {"busy": 0}, {})
    assert not raw.exists(store.keys.work(ME))


def test_signals_are_taken_one_at_a_time(store: Store, raw: redis.Redis) -> None:
    raw.lpush(store.keys.signals(ME), "TSTP", b"\xff")
    taken = [store.processes.take_signal(ME) for _ in range(3)]
    assert taken == ["TSTP", "\ufffd", None]


def test_processes_without_a_record_are_forgotten(store: Store, raw: redis.Redis) -> None:
    assert store.processes.forget_lost() == 0
    store.processes.record(ME, {"busy": 0}, {})
    raw.sadd(store.keys.processes, "gone", b"\xff")
    assert store.processes.forget_lost() == 2
    assert store.processes.identities() == [ME]


def test_counters_begin_at_zero(store: Store) -> None:
    assert store.stats.counters() == {"processed": 0, "failed": 0}


def test_counters_are_read(store: Store, raw: redis.Redis) -> None:
    raw.set(store.keys.processed, 12)
    raw.hset(store.keys.counters, "fenced", 3)
    assert store.stats.counters() == {"processed": 12, "failed": 0, "fenced": 3}


def test_the_server_tells_of_itself(store: Store, redis_server: RedisServer) -> None:
    facts = store.server.facts()
    assert not facts.is_too_old
    assert facts.mode in ("standalone", "cluster")
    assert not facts.evicts
    assert facts.eviction == "noeviction"
    if not redis_server.is_valkey:
        assert facts.version == ".".join(map(str, redis_server.version))


def test_the_server_tells_its_uptime(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis(maxmemory_policy="allkeys-lru")
    store = Store(server.url)
    facts = store.server.facts()
    assert 0 <= facts.uptime < 3600
    assert facts.evicts
    store.close()


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("6.0.16", True),
        ("6.2.0", False),
        ("7.0.15", False),
        ("10.1", False),
        ("5", True),
        ("", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, old: bool) -> None:
    facts = ServerFacts(version=version, mode="standalone", eviction="noeviction", uptime=1)
    assert facts.is_too_old is old


def test_without_a_prefix_the_names_are_sidekiqs() -> None:
    keys = Keys()
    assert [keys.queue("default"), keys.schedule, keys.retry, keys.dead, keys.queues] == [
        "queue:default", "schedule", "retry", "dead", "queues",
    ]  # fmt: skip
    assert [keys.processes, keys.paused, keys.processed, keys.failed_on("2026-01-31")] == [
        "processes", "paused", "stat:processed", "stat:failed:2026-01-31",
    ]  # fmt: skip
    assert [keys.process(ME), keys.work(ME), keys.signals(ME)] == [
        ME,
        f"{ME}:work",
        f"{ME}-signals",
    ]


def test_every_name_stands_under_the_prefix() -> None:
    keys = Keys("{jobs}:")
    names = [name for name in vars(keys).values() if name != keys.prefix]
    names += [keys.queue("q"), keys.claims(ME), keys.process(ME), keys.work(ME), keys.signals(ME)]
    names += [keys.processed_on("2026-01-31"), keys.failed_on("2026-01-31"), keys.all_claims]
    assert all(name.startswith("{jobs}:") for name in names)


def test_a_claims_field_is_taken_apart() -> None:
    name = Field.name("1f", 12, "a:b")
    assert name == "1f:12:a:b"
    assert (Field.batch(name.encode()), Field.queue(name.encode())) == ("1f", "a:b")
