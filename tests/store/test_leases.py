"""Leases: whose word is taken, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.support.server import RedisServer

Look = Callable[[], Contents]

ME = "host:1:abc"


def claim_one(store: Store, identity: str = ME, payload: bytes = b"job") -> str:
    """Let a process hold a job; returns the field."""
    store.queues.push({"q": [payload]})
    found = store.claims.step(identity, lease=60, batch="b", wanted=1, queues=["q"])
    return found.claimed[0].field


def test_a_lease_ends_after_its_time_on_the_clock_of_redis(store: Store, raw: redis.Redis) -> None:
    store.claims.join(ME, 60.0)
    seconds, micro = raw.time()
    assert store.claims.leases()[ME] == pytest.approx(seconds + micro / 1e6 + 60, abs=10)


def test_only_one_live_process_has_an_identity(store: Store) -> None:
    assert store.claims.join(ME, 60.0)
    assert not store.claims.join(ME, 60.0)


@pytest.mark.parametrize("end", [0, 1])
def test_an_identity_whose_lease_is_over_may_be_taken(
    store: Store, raw: redis.Redis, end: int
) -> None:
    raw.zadd(store.keys.leases, {ME: end})
    assert store.claims.join(ME, 60.0)
    assert store.claims.leases()[ME] > time.time()


def test_a_refused_join_does_not_prolong_the_lease(store: Store) -> None:
    store.claims.join(ME, 60.0)
    before = store.claims.leases()
    store.claims.join(ME, 600.0)
    assert store.claims.leases() == before


def test_a_beat_renews_and_tells_of_a_lapse(store: Store, raw: redis.Redis) -> None:
    assert store.claims.beat(ME, 60.0)  # it never had one
    assert not store.claims.beat(ME, 60.0)
    raw.zadd(store.keys.leases, {ME: 1})
    assert store.claims.beat(ME, 60.0)
    assert not store.claims.beat(ME, 60.0)


def test_a_supervisor_extends_a_lease_also_after_it_lapsed(store: Store, raw: redis.Redis) -> None:
    raw.zadd(store.keys.leases, {ME: 1})
    assert store.claims.extend(ME, 60.0)
    assert store.claims.leases()[ME] > time.time()


def test_a_supervisor_revives_neither_the_dead_nor_the_gone(store: Store) -> None:
    assert not store.claims.extend("nobody", 60.0)
    store.claims.join(ME, 60.0)
    store.claims.declare_dead(ME)
    assert not store.claims.extend(ME, 60.0)
    assert store.claims.leases() == {ME: 0.0}


def test_a_declaration_of_death_makes_no_new_entry(store: Store) -> None:
    store.claims.declare_dead("nobody")
    assert store.claims.leases() == {}


def test_expired_tells_the_dead_from_the_lapsed_and_the_live(
    store: Store, raw: redis.Redis
) -> None:
    for name in ("dead", "live"):
        store.claims.join(name, 60.0)
    raw.zadd(store.keys.leases, {"long ago": 1, "just now": time.time() * 1000 - 1000})
    store.claims.declare_dead("dead")
    assert store.claims.expired() == (["dead"], ["long ago", "just now"])


def test_expired_names_the_oldest_where_there_are_many(store: Store, raw: redis.Redis) -> None:
    raw.zadd(store.keys.leases, {f"p{n:03}": n for n in range(1, 200)})
    assert store.claims.expired(limit=3) == ([], ["p001", "p002", "p003"])


def test_names_that_are_not_text_stop_nobody(store: Store, raw: redis.Redis) -> None:
    raw.zadd(store.keys.leases, {b"\xff": 1, b"ok": 2})
    raw.hset(store.keys.claims("").encode() + b"\xfe", mapping={b"b:1:q": b"job"})
    raw.hset(store.keys.claims(ME), mapping={b"\xfd": b"1", b"no colon": b"2", b"b:1:q": b"3"})
    assert store.claims.expired() == ([], ["\ufffd", "ok"])
    assert set(store.claims.leases()) == {"\ufffd", "ok"}
    assert set(store.claims.orphans()) == {"\ufffd", ME}
    claims, _ = store.claims.held(ME)
    assert {claim.raw for claim in claims} == {b"1", b"2", b"3"}
    assert len(store.claims.fields(ME)) == 3


def test_a_process_that_holds_nothing_leaves_no_trace(store: Store, raw: redis.Redis) -> None:
    store.claims.join(ME, 60.0)
    store.processes.record(ME, {"info": "{}"}, {"t1": "{}"})
    raw.lpush(store.keys.signals(ME), "TSTP")
    assert store.claims.leave(ME) == 0
    assert list(raw.scan_iter(match=f"{store.keys.prefix}*")) == []


def test_a_process_that_leaves_jobs_behind_is_dead_at_once(store: Store, look: Look) -> None:
    name = claim_one(store)
    store.claims.step(ME, lease=60, batch="c", wanted=0, queues=[], suspect=name)
    assert store.claims.leave(ME) == 1
    contents = look()
    assert contents.claims == {ME: {name: b"job"}}
    assert contents.leases == {ME: 0.0}
    assert contents.suspects == {}  # who stops in good order has not crashed
    assert store.claims.expired() == ([ME], [])


@pytest.mark.parametrize("broken", ["leases", "claims"])
def test_a_farewell_that_cannot_stand_on_its_keys_writes_nothing(
    store: Store, raw: redis.Redis, look: Look, broken: str
) -> None:
    name = claim_one(store)
    store.claims.step(ME, lease=60, batch="c", wanted=0, queues=[], suspect=name)
    store.processes.record(ME, {"info": "{}"}, {})
    before = look()
    key = store.keys.leases if broken == "leases" else store.keys.claims(ME)
    with wrong_type(raw, key), pytest.raises(StoreRefused):
        store.claims.leave(ME)
    assert look() == before
    assert store.processes.identities() == [ME]
    assert raw.exists(store.keys.process(ME))


@pytest.mark.parametrize("broken", ["processes", "process", "work", "signals"])
def test_records_of_a_wrong_type_do_not_keep_a_process(
    store: Store, raw: redis.Redis, broken: str
) -> None:
    store.claims.join(ME, 60.0)
    keys = store.keys
    key = {
        "processes": keys.processes, "process": keys.process(ME),
        "work": keys.work(ME), "signals": keys.signals(ME),
    }[broken]  # fmt: skip
    with wrong_type(raw, key):
        assert store.claims.leave(ME) == 0
    assert store.claims.leases() == {}


def test_leases_of_a_wrong_type_are_told(store: Store, raw: redis.Redis) -> None:
    verbs: list[Callable[[], object]] = [
        lambda: store.claims.join(ME, 60.0),
        lambda: store.claims.beat(ME, 60.0),
        lambda: store.claims.extend(ME, 60.0),
        lambda: store.claims.declare_dead(ME),
        lambda: store.claims.expired(),
        lambda: store.claims.leases(),
    ]
    with wrong_type(raw, store.keys.leases):
        for verb in verbs:
            with pytest.raises(StoreRefused, match="WRONGTYPE"):
                verb()


def test_claims_without_a_lease_are_found_and_given_one(store: Store, raw: redis.Redis) -> None:
    claim_one(store, "with")
    claim_one(store, "without")
    raw.zrem(store.keys.leases, "without")
    assert list(store.claims.orphans()) == ["without"]
    store.claims.adopt("without", 60.0)
    assert store.claims.leases()["without"] > time.time()
    assert list(store.claims.orphans()) == []


def test_adopting_does_not_touch_a_lease_that_came_back(store: Store) -> None:
    claim_one(store)
    before = store.claims.leases()
    store.claims.adopt(ME, 600.0)
    assert store.claims.leases() == before


def test_orphans_are_found_among_many(store: Store, raw: redis.Redis) -> None:
    names = {f"p{n}" for n in range(2500)}
    with raw.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hset(store.keys.claims(name), "b:1:q", b"job")
        pipe.execute()
    assert set(store.claims.orphans()) == names


@pytest.mark.parametrize("prefix", ["{jobs}:", "a*b:", "[x]?:", "back\\slash:"])
def test_a_prefix_is_not_a_pattern(redis_server: RedisServer, key_prefix: str, prefix: str) -> None:
    store = Store(redis_server.url, prefix=key_prefix + prefix)
    claim_one(store)
    with redis_server.client() as client:
        client.zrem(store.keys.leases, ME)
        # What the pattern would match if nobody had escaped it.
        client.hset(Keys(key_prefix + "aXb:").claims("other"), "b:1:q", b"job")
    assert list(store.claims.orphans()) == [ME]
    store.close()
