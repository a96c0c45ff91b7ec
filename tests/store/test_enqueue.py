"""Enqueueing unique jobs: a page in one script, each of them once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from django_jobqueue.exceptions import StoreFull, StoreRefused
from django_jobqueue.store.claims import BURY
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.uniques import (
    TTL,
    claim,
    digest_of,
    end,
    jid_of,
    lock_of,
    plain_job,
    unique_job,
)
from tests.support.server import RedisServer

Look = Callable[[], Contents]

#: Seconds by which a ttl may be off, on a machine that has other things to do.
SLOW = 100.0


def test_a_duplicate_is_told_who_holds_its_lock_and_leaves_no_trace(
    store: Store, look: Look
) -> None:
    first, second = unique_job(1), unique_job(2)
    assert store.queues.push_unique([first]) == {}
    before = look()
    assert before.queues == {"q": [first.raw]}
    assert before.registered == {"q"}
    assert before.locks == {digest_of(0): jid_of(1)}
    assert TTL - SLOW < before.ttls[digest_of(0)] <= TTL
    assert store.queues.push_unique([second]) == {0: jid_of(1)}
    assert look() == before


def test_a_bulk_with_locked_rows_and_repeats_takes_one_round_trip_and_stays_aligned(
    store: Store, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = [unique_job(n, n) for n in range(400)]
    assert store.queues.push_unique(locked) == {}
    # Every second one is locked at first; the last fifty repeat fifty that are new.
    page = []
    for n in range(400):
        page += [unique_job(1000 + n, n), unique_job(2000 + n, 1000 + n)]
    page += [unique_job(3000 + n, 3000 + n) for n in range(150)]
    page += [unique_job(4000 + n, 1000 + 3 * n) for n in range(50)]
    assert len(page) == 1000
    trips = _count_round_trips(store, monkeypatch)
    exceptions = store.queues.push_unique(page)
    assert len(trips) == 1
    expected = {2 * n: jid_of(n) for n in range(400)}
    expected |= {950 + n: jid_of(2000 + 3 * n) for n in range(50)}
    assert exceptions == expected
    pushed = [job.raw for index, job in enumerate(page) if index not in expected]
    assert len(pushed) == 550
    assert look().queues["q"] == [*reversed(pushed), *reversed([job.raw for job in locked])]
    assert len(look().locks) == 950


def test_plain_and_unique_jobs_of_several_queues_keep_their_order(store: Store, look: Look) -> None:
    page = [
        unique_job(1, 1, queue="a"), plain_job(2, "a"), plain_job(3, "b"), unique_job(4, 1),
        plain_job(5, "a"), unique_job(6, 6, queue="b"), plain_job(7, at=1234.5),
        unique_job(8, 8, at=99.000001),
    ]  # fmt: skip
    assert store.queues.push_unique(page) == {3: jid_of(1)}
    contents = look()
    assert contents.queues == {
        "a": [page[4].raw, page[1].raw, page[0].raw],
        "b": [page[5].raw, page[2].raw],
    }
    assert contents.sets == {"schedule": {page[6].raw: 1234.5, page[7].raw: 99.000001}}
    assert contents.registered == {"a", "b"}


def test_a_lock_knows_no_queue(store: Store) -> None:
    assert store.queues.push_unique([unique_job(1, queue="default")]) == {}
    assert store.queues.push_unique([unique_job(2, queue="slow")]) == {0: jid_of(1)}


def test_the_lock_of_a_scheduled_job_lasts_as_long_as_it_waits_and_its_own_time(
    store: Store, look: Look
) -> None:
    now = time.time()
    page = [unique_job(1, 1, at=now + 3600), unique_job(2, 2, at=now - 3600)]
    store.queues.push_unique(page)
    ttls = look().ttls
    assert 3600 + TTL - SLOW < ttls[digest_of(1)] <= 3600 + TTL
    assert TTL - SLOW < ttls[digest_of(2)] <= TTL
    assert store.queues.push_unique([unique_job(3, 1)]) == {0: jid_of(1)}


@pytest.mark.parametrize("ttl", [1e300, 1.7e308, 1e-9])
def test_a_lock_lasts_for_a_time_that_redis_takes_whatever_a_payload_says(
    store: Store, look: Look, ttl: float
) -> None:
    job = unique_job(1, ttl=ttl)
    assert store.queues.push_unique([job]) == {}
    (claimed,) = claim(store)
    end(store, "retry", claimed, delay=60.0)
    assert list(look().sets["retry"]) == [job.raw]
    assert look().ttls[digest_of(0)] >= 60 - SLOW


def test_an_empty_page_does_nothing(store: Store, look: Look) -> None:
    assert store.queues.push_unique([]) == {}
    assert look() == Contents()


def test_a_page_of_big_payloads_arrives_whole(store: Store) -> None:
    page = [unique_job(n, n, filling="🦀" * 5_000) for n in range(1000)]
    assert store.queues.push_unique(page) == {}
    assert store.queues.page("q", 0, 2000) == [job.raw for job in page]


def test_payloads_are_opaque(store: Store) -> None:
    lock = lock_of(unique_job(1))
    odd = unique_job(1)
    for raw in (b"\xff\x00", b"", b"[]", b"12345678901234567890", b"\n1\n"):
        store.locks.start(lock, release=True)
        store.queues.push_unique([type(odd)("q", raw, lock=lock)])
        assert [found.raw for found in claim(store, batch=repr(raw))] == [raw]


# What is run afterwards ------------------------------------------------------


def test_the_last_duplicate_is_noted_for_as_long_as_its_lock_would_last(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    jobs = [unique_job(n, rerun=True, ttl=TTL + n) for n in range(4)]
    store.queues.push_unique(jobs[:2])
    assert store.queues.push_unique(jobs[2:]) == {0: jid_of(0), 1: jid_of(0)}
    contents = look()
    assert contents.queues == {"q": [jobs[0].raw]}
    assert contents.reruns == {digest_of(0): b"%b\n603000\n%b" % (jid_of(3).encode(), jobs[3].raw)}
    assert TTL - SLOW < raw.pttl(store.keys.rerun(digest_of(0))) / 1000 <= TTL + 3


def test_a_duplicate_that_is_to_be_dropped_is_not_noted(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1, rerun=True), unique_job(2)])
    assert look().reruns == {}


def test_who_heals_has_nothing_run_afterwards(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1, rerun=True), noted := unique_job(2, rerun=True)])
    page = [unique_job(3, rerun=True), unique_job(4, 4, rerun=True), unique_job(5, 4, rerun=True)]
    healed = store.queues.push_unique(page, healing=True)
    assert healed == {0: jid_of(1), 2: jid_of(4)}
    assert set(look().reruns) == {digest_of(0)}
    assert look().reruns[digest_of(0)].endswith(noted.raw)


# Tombstones ------------------------------------------------------------------


def test_only_who_heals_leaves_a_row_alone_that_cools_down(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store), cooldown=60.0)
    page = [unique_job(2), unique_job(3, 3), unique_job(4)]
    assert store.queues.push_unique(page, healing=True) == {0: "", 2: ""}
    assert look().locks == {digest_of(3): jid_of(3)}
    assert store.queues.push_unique([unique_job(5)]) == {}
    # The lock comes first: it is on its way.
    assert store.queues.push_unique([unique_job(6)], healing=True) == {0: jid_of(5)}


def test_a_row_is_healed_when_its_cool_down_is_over_or_cleared(
    store: Store, raw: redis.Redis
) -> None:
    for row in (1, 2):
        store.queues.push_unique([unique_job(row, row)])
        end(store, BURY, *claim(store), cooldown=60.0)
    raw.hset(store.keys.tombstone(digest_of(1)), "until", int((time.time() - 1) * 1000))
    assert store.locks.clear_tombstone(digest_of(2))
    assert not store.locks.clear_tombstone(digest_of(2))
    assert store.queues.push_unique([unique_job(3, 1), unique_job(4, 2)], healing=True) == {}


# Sent again ------------------------------------------------------------------


def test_a_page_sent_again_is_written_once(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1, 1)])
    page = [
        unique_job(2, 1, rerun=True), unique_job(3, 3), unique_job(4, 3, rerun=True),
        unique_job(5, 5, at=time.time() + 100), unique_job(6, 6, queue="other"),
    ]  # fmt: skip
    answer = store.queues.push_unique(page)
    before = look()
    assert store.queues.push_unique(page) == answer == {0: jid_of(1), 2: jid_of(3)}
    assert look() == before


# Races -----------------------------------------------------------------------


def test_fifty_threads_that_race_queue_one_job_and_learn_its_jid(
    redis_server: RedisServer, key_prefix: str, look: Look
) -> None:
    store = Store(redis_server.url, prefix=key_prefix, timeout=20.0)
    answers: dict[int, dict[int, str]] = {}
    everybody_is_here = threading.Barrier(50)

    def push(number: int) -> None:
        everybody_is_here.wait(timeout=60)
        answers[number] = store.queues.push_unique([unique_job(number)])

    threads = [threading.Thread(target=push, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    (winner,) = [number for number, answer in answers.items() if not answer]
    assert [answer[0] for answer in answers.values() if answer] == [jid_of(winner)] * 49
    assert look().queues == {"q": [unique_job(winner).raw]}
    assert look().locks == {digest_of(0): jid_of(winner)}


# Refused as a whole ----------------------------------------------------------


@pytest.mark.parametrize("broken", ["queue:b", "queues", "schedule"])
def test_a_page_that_meets_a_key_of_a_wrong_type_writes_nothing(
    store: Store, raw: redis.Redis, look: Look, broken: str
) -> None:
    page = [
        unique_job(1, 1, queue="a"), plain_job(2, "a"), unique_job(3, 3, queue="b"),
        unique_job(4, 4, at=time.time() + 100), unique_job(5, 1, queue="a", rerun=True),
    ]  # fmt: skip
    with wrong_type(raw, store.keys.prefix + broken):
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            store.queues.push_unique(page)
        contents = look()
        assert (contents.queues, contents.sets, contents.locks, contents.reruns) == ({}, {}, {}, {})
    assert store.queues.push_unique(page) == {4: jid_of(1)}


def test_a_schedule_of_a_wrong_type_does_not_stop_what_runs_now(
    store: Store, raw: redis.Redis
) -> None:
    with wrong_type(raw, store.keys.schedule):
        assert store.queues.push_unique([unique_job(1)]) == {}


@pytest.mark.parametrize("flags", [True, False], ids=["flags", "without flags"])
def test_a_full_redis_takes_nothing_of_a_page(
    private_redis: Callable[..., RedisServer], flags: bool
) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    store._link._flags = flags
    store.queues.push_unique([unique_job(1, 1)])
    with server.client() as client:
        before = Contents.read(client, "")
        client.config_set("maxmemory", 1)
        for page in (
            [unique_job(2, 2)],
            [unique_job(3, 3, at=time.time() + 100)],
            [plain_job(4), unique_job(5, 1, rerun=True)],
            [unique_job(6, 1, rerun=True)],
            [unique_job(n, n, queue=f"q{n % 3}") for n in range(10, 1010)],
        ):
            with pytest.raises(StoreFull):
                store.queues.push_unique(page)
        client.config_set("maxmemory", 0)
        assert Contents.read(client, "") == before
    store.close()


@pytest.mark.parametrize("flags", [True, False], ids=["flags", "without flags"])
def test_a_page_that_fills_redis_is_taken_whole(
    private_redis: Callable[..., RedisServer], flags: bool
) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    store._link._flags = flags
    store.queues.push_unique([unique_job(0, 0)])
    page = [unique_job(n, n, filling="x" * 1000) for n in range(1, 1001)]
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
        try:
            store.queues.push_unique(page)
            taken = len(page)
        except StoreFull:  # its words alone fill the memory
            taken = 0
        client.config_set("maxmemory", 0)
        contents = Contents.read(client, "")
        assert len(contents.queues["q"]) == len(contents.locks) == taken + 1
    store.close()


# Locks that are none ---------------------------------------------------------


def test_a_lock_of_a_wrong_type_locks_nothing(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.rpush(store.keys.unique(digest_of(0)), "no", "lock")
    page = [unique_job(1), unique_job(2)]
    assert store.queues.push_unique(page) == {1: jid_of(1)}
    assert look().queues == {"q": [page[0].raw]}
    assert look().locks == {digest_of(0): jid_of(1)}


def test_a_tombstone_of_a_wrong_type_stops_nobody(store: Store, raw: redis.Redis) -> None:
    raw.set(store.keys.tombstone(digest_of(1)), "no hash")
    raw.hset(store.keys.tombstone(digest_of(2)), "until", "no time")
    raw.hset(store.keys.tombstone(digest_of(3)), "deaths", 5)
    page = [unique_job(row, row) for row in (1, 2, 3)]
    assert store.queues.push_unique(page, healing=True) == {}


def test_a_note_of_a_wrong_type_is_written_over(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.sadd(store.keys.rerun(digest_of(0)), "no note")
    page = [unique_job(1, rerun=True), unique_job(2, rerun=True)]
    assert store.queues.push_unique(page) == {1: jid_of(1)}
    assert look().reruns[digest_of(0)].endswith(page[1].raw)


def _count_round_trips(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with every round trip of a store."""
    trips: list[Any] = []
    exchange = store._link._exchange

    def counted(commands: Any) -> Any:
        trips.append(commands)
        return exchange(commands)

    monkeypatch.setattr(store._link, "_exchange", counted)
    return trips
