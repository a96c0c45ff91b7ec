"""Dead jobs run once more: each moved once, with its lock, never beside a newer job."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import BURY
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.sets import Revival, Revived
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.uniques import TTL, claim, digest_of, end, jid_of, unique_job

Look = Callable[[], Contents]

ALL = Revived({}, {}, frozenset())


def die(store: Store, job: Push, *, cooldown: float = 0.0) -> bytes:
    """Let a unique job die; returns its entry in the dead set."""
    assert store.queues.push_unique([job]) == {}
    end(store, BURY, *claim(store), cooldown=cooldown)
    return job.raw


def revival(raw: bytes, queue: str = "q") -> Revival:
    return Revival(raw, b" " + raw, queue, lock_in(raw))


def test_a_revived_job_is_in_its_queue_locked_and_its_row_is_warm(store: Store, look: Look) -> None:
    raw = die(store, unique_job(1), cooldown=3600.0)
    assert look().tombstones.keys() == {digest_of(0)}
    assert store.sets.revive([revival(raw, "other")]) == ALL
    contents = look()
    assert list(contents.jobs()) == [("queue other", b" " + raw)]
    assert "other" in contents.registered
    assert contents.locks == {digest_of(0): jid_of(1)}
    assert TTL - 100 < contents.ttls[digest_of(0)] <= TTL
    assert contents.tombstones == {}
    # Sent again, it finds nothing to do.
    assert store.sets.revive([revival(raw, "other")]) == Revived({}, {}, frozenset({0}))
    assert look() == contents


def test_a_job_stays_dead_while_a_newer_one_does_its_work(store: Store, look: Look) -> None:
    raw = die(store, unique_job(1), cooldown=3600.0)
    store.queues.push_unique([unique_job(2)])
    before = look()
    assert store.sets.revive([revival(raw)]) == Revived({0: jid_of(2)}, {}, frozenset())
    assert look() == before


def test_of_two_dead_jobs_of_one_row_one_is_revived(store: Store, look: Look) -> None:
    first, second = die(store, unique_job(1)), die(store, unique_job(2))
    answer = store.sets.revive([revival(first), revival(b"gone"), revival(second)])
    assert answer == Revived({2: jid_of(1)}, {}, frozenset({1}))
    assert look().locks == {digest_of(0): jid_of(1)}


def test_a_dead_job_that_holds_its_lock_is_revived(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    entry = die(store, unique_job(1))
    raw.set(store.keys.unique(digest_of(0)), jid_of(1))  # Redis lost half of its writes
    assert store.sets.revive([revival(entry)]) == ALL
    assert 0 < look().ttls[digest_of(0)] <= TTL


def test_a_lock_of_a_wrong_type_is_none(store: Store, raw: redis.Redis, look: Look) -> None:
    entry = die(store, unique_job(1))
    with wrong_type(raw, store.keys.unique(digest_of(0))):
        assert store.sets.revive([revival(entry)]) == ALL
    assert look().payloads() == [b" " + entry]


@pytest.mark.parametrize("odd", [b"", b"\xff\x00", b"12345678901234567890"])
def test_bytes_that_are_no_job_are_revived_as_any_other(
    store: Store, raw: redis.Redis, look: Look, odd: bytes
) -> None:
    raw.zadd(store.keys.dead, {odd: 1})
    assert store.sets.revive([Revival(odd, odd, "q")]) == ALL
    assert list(look().jobs()) == [("queue q", odd)]


def test_a_queue_that_cannot_be_pushed_to_keeps_its_jobs_dead_and_no_others(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    bad, good = die(store, unique_job(1, 1)), die(store, unique_job(2, 2))
    with wrong_type(raw, store.keys.queue("bad")):
        answer = store.sets.revive([revival(bad, "bad"), revival(good)])
    assert answer.refused.keys() == {0}
    assert "WRONGTYPE" in answer.refused[0]
    contents = look()
    assert set(contents.sets["dead"]) == {bad}
    assert contents.locks == {digest_of(2): jid_of(2)}


def test_a_dead_set_of_a_wrong_type_stops_a_revival_before_it_wrote(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    entry = die(store, unique_job(1))
    before = look()
    with wrong_type(raw, store.keys.dead), pytest.raises(StoreRefused, match="WRONGTYPE"):
        store.sets.revive([revival(entry)])
    assert look() == before
