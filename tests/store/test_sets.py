"""The sets: what is due, and moving it once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.sets import DROP, LATER, PUSH, Promotion
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.support.polling import wait_until
from tests.support.server import RedisServer

Look = Callable[[], Contents]


def test_due_reads_the_longest_overdue_of_each_set_and_removes_nothing(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    now = time.time()
    raw.zadd(store.keys.schedule, {b"s2": now - 10, b"s1": now - 20, b"not yet": now + 1000})
    raw.zadd(store.keys.retry, {b"r1": now - 5})
    before = look()
    due = store.sets.due()
    assert due.entries == {"schedule": [b"s1", b"s2"], "retry": [b"r1"]}
    assert due.earliest == pytest.approx(-20, abs=5)
    assert store.sets.due(limit=1).entries == {"schedule": [b"s1"], "retry": [b"r1"]}
    assert look() == before


def test_due_tells_when_the_earliest_of_all_comes(store: Store, raw: redis.Redis) -> None:
    assert store.sets.due().earliest is None
    raw.zadd(store.keys.schedule, {b"s": time.time() + 2000})
    raw.zadd(store.keys.retry, {b"r": time.time() + 1000})
    due = store.sets.due()
    assert due.entries == {"schedule": [], "retry": []}
    assert due.earliest == pytest.approx(1000, abs=5)


@pytest.mark.parametrize("score", ["+inf", "253402300800"])
def test_a_time_that_is_far_away_is_only_far_away(
    store: Store, raw: redis.Redis, score: str
) -> None:
    raw.zadd(store.keys.schedule, {b"s": float(score)})
    due = store.sets.due()
    assert due.entries["schedule"] == []
    assert due.earliest is not None
    assert due.earliest > 1e9


@pytest.mark.parametrize("score", ["-inf", "-5", "0"])
def test_a_time_before_all_times_is_due(store: Store, raw: redis.Redis, score: str) -> None:
    raw.zadd(store.keys.schedule, {b"s": float(score)})
    due = store.sets.due()
    assert due.entries["schedule"] == [b"s"]
    assert due.earliest is not None
    assert due.earliest < 0


@pytest.mark.parametrize(("broken", "other"), [("schedule", "retry"), ("retry", "schedule")])
def test_due_tells_of_a_set_of_a_wrong_type_and_reads_the_other(
    store: Store, raw: redis.Redis, broken: str, other: str
) -> None:
    raw.zadd(f"{store.keys.prefix}{other}", {b"job": 1})
    with wrong_type(raw, f"{store.keys.prefix}{broken}"):
        due = store.sets.due()
    assert due.entries == {broken: [], other: [b"job"]}
    assert set(due.broken) == {broken}
    assert "WRONGTYPE" in due.broken[broken]
    assert store.sets.due().broken == {}


@pytest.mark.parametrize("name", ["schedule", "retry"])
def test_promotions_push_put_off_and_drop(
    store: Store, raw: redis.Redis, look: Look, name: str
) -> None:
    raw.zadd(f"{store.keys.prefix}{name}", {b"1": 1, b"2": 2, b"3": 3, b"4": 4, b"stays": 5})
    store.queues.push({"q": [b"0"]})
    before = time.time()
    moved, refused = store.sets.promote(
        name,
        [
            Promotion(PUSH, b"1", b"1'", "q"),
            Promotion(LATER, b"2", b"2'", delay=60.0),
            Promotion(LATER, b"3", b"3", delay=60.0),
            Promotion(DROP, b"4"),
        ],
    )
    after = time.time()
    assert (moved, refused) == (4, {})
    contents = look()
    assert contents.queues == {"q": [b"1'", b"0"]}
    assert contents.registered == {"q"}
    assert sorted(contents.sets[name]) == [b"2'", b"3", b"stays"]
    for entry in (b"2'", b"3"):
        assert before + 59.9 <= contents.sets[name][entry] <= after + 60.1


def test_entries_go_to_their_own_queues(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.zadd(store.keys.schedule, {b"1": 1, b"2": 2, b"3": 3})
    promotions = [
        Promotion(PUSH, b"1", b"1", "a"),
        Promotion(PUSH, b"2", b"2", "b"),
        Promotion(PUSH, b"3", b"3", "a"),
    ]
    assert store.sets.promote("schedule", promotions) == (3, {})
    assert look().queues == {"a": [b"3", b"1"], "b": [b"2"]}
    assert look().registered == {"a", "b"}


def test_an_entry_that_is_gone_is_not_promoted(store: Store, look: Look) -> None:
    promotions = [Promotion(PUSH, b"1", b"1", "q"), Promotion(LATER, b"2", b"2", delay=1.0)]
    assert store.sets.promote("schedule", promotions) == (0, {})
    assert look() == Contents()


def test_a_promotion_sent_again_moves_nothing(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.zadd(store.keys.retry, {b"1": 1, b"2": 2, b"3": 3})
    promotions = [
        Promotion(PUSH, b"1", b"1'", "q"),
        Promotion(DROP, b"2"),
        Promotion(LATER, b"3", b"3'", delay=60.0),
    ]
    assert store.sets.promote("retry", promotions) == (3, {})
    before = look()
    assert store.sets.promote("retry", promotions) == (0, {})
    assert look() == before


def test_pollers_that_race_move_each_entry_once(
    redis_server: RedisServer, key_prefix: str, raw: redis.Redis, look: Look
) -> None:
    entries = [b"%03d" % n for n in range(300)]
    stores = [Store(redis_server.url, prefix=key_prefix, timeout=10.0) for _ in range(4)]
    raw.zadd(stores[0].keys.schedule, dict.fromkeys(entries, 1))
    moved: list[int] = []
    everybody_has_read = threading.Barrier(len(stores))

    def poll(store: Store) -> None:
        due = store.sets.due(len(entries)).entries["schedule"]
        everybody_has_read.wait(timeout=30)
        for start in range(0, len(due), 10):
            page = [Promotion(PUSH, old, old, "q") for old in due[start : start + 10]]
            moved.append(store.sets.promote("schedule", page)[0])

    threads = [threading.Thread(target=poll, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == len(entries)
    assert sorted(look().queues["q"]) == entries
    assert look().sets == {}
    for store in stores:
        store.close()


def test_an_entry_whose_queue_is_of_a_wrong_type_stays(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    raw.zadd(store.keys.schedule, {b"1": 1, b"2": 2})
    promotions = [Promotion(PUSH, b"1", b"1", "bad"), Promotion(PUSH, b"2", b"2", "good")]
    with wrong_type(raw, store.keys.queue("bad")):
        moved, refused = store.sets.promote("schedule", promotions)
    assert moved == 1
    assert set(refused) == {0}
    assert "WRONGTYPE" in refused[0]
    assert list(look().jobs()) == [("queue good", b"2"), ("schedule", b"1")]


def test_a_set_of_a_wrong_type_stops_its_promotion_before_it_wrote(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    raw.zadd(store.keys.schedule, {b"1": 1})
    before = look()
    with wrong_type(raw, store.keys.schedule), pytest.raises(StoreRefused):
        store.sets.promote("schedule", [Promotion(PUSH, b"1", b"1", "q")])
    assert look() == before


def test_the_list_of_queues_is_not_needed(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.zadd(store.keys.schedule, {b"1": 1})
    with wrong_type(raw, store.keys.queues):
        assert store.sets.promote("schedule", [Promotion(PUSH, b"1", b"1", "q")]) == (1, {})
    assert look().queues == {"q": [b"1"]}


def test_promoted_payloads_are_opaque(store: Store, raw: redis.Redis, look: Look) -> None:
    odd = [b"12345678901234567890", b"[]", b"{}", b"\xff\x00", b"\x00", b""]
    raw.zadd(store.keys.schedule, {entry: n for n, entry in enumerate(odd)})
    due = store.sets.due().entries["schedule"]
    assert due == odd
    store.sets.promote("schedule", [Promotion(PUSH, entry, entry, "q") for entry in due])
    assert store.queues.page("q") == odd


def test_sizes_and_pages(store: Store, raw: redis.Redis) -> None:
    raw.zadd(store.keys.retry, {b"2": 2.5, b"1": 1.25, b"3": 3})
    assert store.sets.sizes() == {"schedule": 0, "retry": 3, "dead": 0}
    assert store.sets.page("retry", 0, 2) == [(b"1", 1.25), (b"2", 2.5)]
    assert store.sets.page("retry", 2, 2) == [(b"3", 3.0)]
    assert store.sets.page("dead") == []


def test_one_leads_until_its_term_ends(store: Store, raw: redis.Redis) -> None:
    assert store.sets.lead("a", 60.0)
    assert not store.sets.lead("b", 60.0)
    assert 0 < raw.pttl(store.keys.leader) <= 60_000
    assert store.sets.lead("a", 600.0)
    assert raw.pttl(store.keys.leader) > 60_000
    raw.delete(store.keys.leader)
    assert store.sets.lead("b", 60.0)
    assert not store.sets.lead("a", 60.0)


def test_a_term_ends_by_itself(store: Store) -> None:
    assert store.sets.lead("a", 0.05)
    wait_until(lambda: store.sets.lead("b", 60.0), what="the end of the leader's term")
