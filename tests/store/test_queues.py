"""Pushing, and looking at the queues."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreFull, StoreRefused
from django_jobqueue.payload import Payload
from django_jobqueue.store.queues import PUSH_LIMIT, REGISTERED_FOR
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.support.clocks import freeze
from tests.support.server import RedisServer

Look = Callable[[], Contents]


def test_the_first_pushed_runs_first(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"1", b"2"]})
    store.queues.push({"q": [b"3"]})
    assert look().queues == {"q": [b"3", b"2", b"1"]}
    assert store.queues.page("q") == [b"1", b"2", b"3"]


def test_one_push_may_go_to_several_queues_and_to_the_schedule(store: Store, look: Look) -> None:
    store.queues.push({"a": [b"1"], "b": [b"2"]}, [(1234.5, b"3"), (99.000001, b"4")])
    contents = look()
    assert contents.queues == {"a": [b"1"], "b": [b"2"]}
    assert contents.sets == {"schedule": {b"3": 1234.5, b"4": 99.000001}}
    assert contents.registered == {"a", "b"}


def test_an_empty_push_does_nothing(store: Store, look: Look) -> None:
    store.queues.push({})
    assert look() == Contents()


def test_a_scheduled_job_registers_no_queue(store: Store, look: Look) -> None:
    store.queues.push({}, [(1.0, b"x")])
    assert look().registered == set()


def test_a_long_push_is_cut_into_pieces_and_stays_one_transaction(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    payloads = [b"%d" % n for n in range(2 * PUSH_LIMIT + 1)]
    before = _calls(raw)
    store.queues.push({"q": payloads})
    after = _calls(raw)
    assert store.queues.page("q", 0, len(payloads) + 1) == payloads
    assert after.get("lpush", 0) - before.get("lpush", 0) == 3
    assert after.get("exec", 0) - before.get("exec", 0) == 1


def test_a_queue_is_registered_again_only_after_a_while(
    store: Store, raw: redis.Redis, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    store.queues.push({"q": [b"1"]})
    raw.delete(store.keys.queues)
    now += REGISTERED_FOR - 0.1
    store.queues.push({"q": [b"2"]})
    assert look().registered == set()
    now += 0.1
    store.queues.push({"q": [b"3"]})
    assert look().registered == {"q"}


def test_a_push_that_failed_does_not_count_as_registered(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    with wrong_type(raw, store.keys.queue("q")), pytest.raises(StoreRefused):
        store.queues.push({"q": [b"1"]})
    raw.delete(store.keys.queues)
    store.queues.push({"q": [b"1"]})
    assert look().registered == {"q"}


@pytest.mark.parametrize("count", [1, 2 * PUSH_LIMIT])
def test_a_full_redis_takes_nothing_of_a_push(
    private_redis: Callable[..., RedisServer], count: int
) -> None:
    server = private_redis(maxmemory=1)
    store = Store(server.url)
    with server.client() as client:
        with pytest.raises(StoreFull):
            store.queues.push({"a": [b"x"] * count, "b": [b"y"]}, [(1.0, b"z")])
        with pytest.raises(StoreFull):
            store.queues.push({"a": [b"x"] * count})
        with pytest.raises(StoreFull):
            store.queues.push({}, [(1.0, b"z")])
        assert client.dbsize() == 0
    store.close()


def test_a_push_that_fills_redis_is_taken_whole_or_not_at_all(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    store = Store(server.url)
    payloads = [b"%04d" % n + b"x" * 1000 for n in range(3 * PUSH_LIMIT)]
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
        taken = True
        try:
            store.queues.push({"q": payloads})
        except StoreFull:
            taken = False
        assert client.llen("queue:q") == (len(payloads) if taken else 0)
        client.config_set("maxmemory", 0)
    store.close()


def test_pages_and_sizes(store: Store) -> None:
    store.queues.push({"q": [b"%d" % n for n in range(5)]})
    assert store.queues.page("q", 1, 2) == [b"1", b"2"]
    assert store.queues.page("q", 4, 10) == [b"4"]
    assert store.queues.page("nothing") == []
    assert store.queues.sizes(["q", "nothing"]) == {"q": 5, "nothing": 0}
    assert store.queues.names() == ["q"]


def test_raw_bytes_are_pushed_as_they_are(store: Store) -> None:
    store.queues.push_raw("q", b"not json \xff\x00")
    store.queues.push_raw("q", b"")
    assert store.queues.page("q") == [b"not json \xff\x00", b""]


def _calls(client: redis.Redis) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}


def test_the_latency_of_a_queue_is_the_age_of_the_next_job(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = freeze(monkeypatch).now
    assert store.queues.latency("q") == 0.0
    old = {"class": "A", "args": [], "jid": "1", "enqueued_at": int((now - 90) * 1000)}
    store.queues.push({"q": [Payload(old).encode(), Payload({**old, "enqueued_at": 5}).encode()]})
    assert store.queues.latency("q") == pytest.approx(90, abs=0.01)
    ahead = Payload({**old, "enqueued_at": int((now + 90) * 1000)})
    made = Payload({"class": "A", "args": [], "jid": "1", "created_at": now - 7.0})
    for name, raw in (("ahead", ahead.encode()), ("junk", b"{"), ("made", made.encode())):
        store.queues.push({name: [raw]})
    assert [store.queues.latency(name) for name in ("ahead", "junk", "made")] == [0.0, 0.0, 7.0]
