"""The counts of stopped jobs: by class, by minute, and in all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreFull
from django_jobqueue.store.store import Store
from django_jobqueue.store.tally import DROPPED, HELD, REFUSED
from tests.support.clocks import freeze
from tests.support.server import RedisServer


def test_jobs_are_counted_by_class_and_in_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(monkeypatch)
    store.tally.add(REFUSED, {"shop.jobs.A": 2, "shop.jobs.B": 3})
    store.tally.add(REFUSED, {"shop.jobs.A": 1})
    store.tally.add(HELD, {"shop.jobs.A": 5})
    store.tally.add(DROPPED, {"Rails::Job": 7})
    assert store.tally.last() == {
        "shop.jobs.A": {REFUSED: 3, HELD: 5},
        "shop.jobs.B": {REFUSED: 3},
        "Rails::Job": {DROPPED: 7},
    }
    counters = store.stats.counters()
    assert [counters[what] for what in (REFUSED, HELD, DROPPED)] == [6, 5, 7]


def test_every_minute_has_its_own_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = freeze(monkeypatch)
    for count in (1, 2, 4):
        store.tally.add(REFUSED, {"A": count})
        clock.advance(60)
    assert store.tally.last(1) == {}
    assert store.tally.last(2) == {"A": {REFUSED: 4}}
    assert store.tally.last(3) == {"A": {REFUSED: 6}}
    assert store.tally.last() == {"A": {REFUSED: 7}}


def test_a_minute_is_kept_for_eight_hours(
    store: Store, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = freeze(monkeypatch)
    clock.now = 1_800_000_000.0  # 2027-01-15 08:00 UTC
    store.tally.add(REFUSED, {"A": 1})
    assert 0 < raw.ttl(store.keys.tally("202701150800")) <= 8 * 3_600


def test_nothing_is_counted_where_there_is_nothing(store: Store, raw: redis.Redis) -> None:
    store.tally.add(REFUSED, {})
    assert raw.keys(f"{store.keys.prefix}*") == []


def test_a_full_redis_counts_nothing_of_it(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    with server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            store.tally.add(REFUSED, {"A": 1})
        client.config_set("maxmemory", 0)
        assert client.keys("*") == []
    store.close()
