"""Step: results in, jobs out, in one round trip."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain

import pytest
import redis

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    EXPIRED,
    FORGET,
    RETRY,
    SKIPPED,
    SNOOZE,
    Claim,
    Move,
    Step,
)
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.support.server import RedisServer

Look = Callable[[], Contents]

ME = "host:1:abc"
LEASE = 60.0

#: Five years in seconds: how long the counters of a day are kept.
FIVE_YEARS = 5 * 365 * 86_400

#: What JSON in Lua, or a decoded reply, would spoil.
OPAQUE = [
    b"12345678901234567890",
    b"[]",
    b"{}",
    b'{"args":[[],{},1e400,12345678901234567890]}',
    b"\xff\xfe\x00\x80",
    b"\x00",
    b"",
    "🦀".encode(),
    b"$-1\r\n",
]


def step(
    store: Store,
    batch: str = "b",
    wanted: int = 0,
    queues: Sequence[str] = ("q",),
    done: Sequence[str] = (),
    moves: Sequence[Move] = (),
    suspect: str = "",
    room: int = 4_000_000,
) -> Step:
    """Step with the defaults of these tests."""
    return store.claims.step(
        ME,
        lease=LEASE,
        batch=batch,
        wanted=wanted,
        queues=queues,
        done=done,
        moves=moves,
        suspect=suspect,
        room=room,
    )


def claimed(store: Store, *payloads: bytes) -> list[str]:
    """Push jobs and claim them; returns their fields."""
    store.queues.push({"q": payloads})
    return [claim.field for claim in step(store, "first", len(payloads)).claimed]


# Claiming --------------------------------------------------------------------


def test_jobs_are_claimed_in_the_order_they_were_pushed(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"1", b"2", b"3"]})
    found = step(store, "b7", 2)
    assert found.claimed == [Claim("b7:1:q", "q", b"1"), Claim("b7:2:q", "q", b"2")]
    contents = look()
    assert contents.claims == {ME: {"b7:1:q": b"1", "b7:2:q": b"2"}}
    assert contents.queues == {"q": [b"3"]}


def test_queues_are_asked_in_the_order_given(store: Store, look: Look) -> None:
    store.queues.push({"a": [b"a1", b"a2"], "b": [b"b1", b"b2"]})
    found = step(store, "x", 3, ["b", "empty", "a"])
    assert [claim.raw for claim in found.claimed] == [b"b1", b"b2", b"a1"]
    assert [claim.queue for claim in found.claimed] == ["b", "b", "a"]
    assert [claim.field for claim in found.claimed] == ["x:1:b", "x:2:b", "x:1:a"]
    assert look().queues == {"a": [b"a2"]}


@pytest.mark.parametrize("count", [49, 50, 51, 100, 120])
def test_many_jobs_are_claimed_at_once(store: Store, look: Look, count: int) -> None:
    payloads = [b"%d" % n for n in range(count)]
    store.queues.push({"q": [*payloads, b"one more"]})
    found = step(store, "b", count)
    assert [claim.raw for claim in found.claimed] == payloads
    assert [claim.field for claim in found.claimed] == [f"b:{n}:q" for n in range(1, count + 1)]
    assert look().queues == {"q": [b"one more"]}


def test_nothing_is_claimed_where_nothing_is_wanted(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"1"]})
    assert step(store, wanted=0).claimed == []
    assert step(store, wanted=3, queues=[]).claimed == []
    assert look().queues == {"q": [b"1"]}


def test_a_paused_queue_is_left_alone_and_named(store: Store, look: Look) -> None:
    store.queues.push({"a": [b"1"], "b": [b"2"]})
    store.queues.pause("a")
    found = step(store, wanted=5, queues=["a", "b"])
    assert found.paused == ["a"]
    assert [claim.raw for claim in found.claimed] == [b"2"]
    store.queues.resume("a")
    assert [claim.raw for claim in step(store, "c", 5, ["a", "b"]).claimed] == [b"1"]


def test_paused_queues_are_named_also_when_nothing_is_wanted(store: Store) -> None:
    store.queues.pause("b")
    assert step(store, wanted=0, queues=["a", "b"]).paused == ["b"]


def test_a_claim_stops_at_the_byte_cap(store: Store, look: Look) -> None:
    store.queues.push({"a": [b"x" * 6] * 3, "b": [b"y"]})
    found = step(store, wanted=9, queues=["a", "b"], room=12)
    assert len(found.claimed) == 2
    assert look().queues == {"a": [b"x" * 6], "b": [b"y"]}


def test_a_job_over_the_byte_cap_is_claimed_alone(store: Store) -> None:
    store.queues.push({"q": [b"x" * 100, b"y"]})
    assert [len(claim.raw) for claim in step(store, wanted=9, room=10).claimed] == [100]
    assert [claim.raw for claim in step(store, "c", 9, room=10).claimed] == [b"y"]


@pytest.mark.parametrize("payload", OPAQUE)
def test_payloads_are_opaque_on_every_way(store: Store, look: Look, payload: bytes) -> None:
    (name,) = claimed(store, payload)
    assert store.claims.read(ME, [name]) == [Claim(name, "q", payload)]
    assert store.claims.held(ME) == ([Claim(name, "q", payload)], "")
    step(store, moves=[Move(BACK, name, queue="q")])
    assert look().queues == {"q": [payload]}
    for verb, place in ((RETRY, "retry"), (SNOOZE, "schedule"), (BURY, "dead")):
        (claim,) = step(store, f"for {verb}", 1).claimed
        assert claim.raw == payload
        step(store, moves=[Move(verb, claim.field, payload)])
        assert list(look().sets[place]) == [payload]
        store.queues.push({"q": [payload]})


def test_the_same_payload_twice_is_two_jobs(store: Store, look: Look) -> None:
    names = claimed(store, b"same", b"same")
    assert len(set(names)) == 2
    step(store, done=names[:1])
    assert look().claims == {ME: {names[1]: b"same"}}


# Sent again ------------------------------------------------------------------


def test_a_batch_sent_again_claims_nothing_and_overwrites_nothing(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"%d" % n for n in range(9)]})
    step(store, "b", 3)
    before = look()
    assert step(store, "b", 3).claimed == []
    assert look() == _with_leases_of(before, look())


def test_a_long_batch_sent_again_overwrites_nothing(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"%d" % n for n in range(300)]})
    step(store, "b", 120)
    before = look()
    assert step(store, "b", 120).claimed == []
    assert look() == _with_leases_of(before, look())


def test_a_batch_sent_again_after_a_queue_was_paused_or_resumed_overwrites_nothing(
    store: Store, look: Look
) -> None:
    store.queues.push({name: [b"%d%s" % (n, name.encode()) for n in range(9)] for name in "ab"})
    store.queues.pause("a")
    step(store, "x", 2, ["a", "b"])
    store.queues.resume("a")
    store.queues.pause("b")
    again = step(store, "x", 2, ["a", "b"])
    assert [claim.raw for claim in again.claimed] == [b"0a", b"1a"]
    store.queues.resume("b")
    assert step(store, "x", 2, ["a", "b"]).claimed == []
    contents = look()
    assert sorted(contents.claims[ME].values()) == [b"0a", b"0b", b"1a", b"1b"]
    assert len(contents.payloads()) == 18


def test_a_batch_that_was_recovered_in_part_overwrites_nothing(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"1", b"2", b"3", b"4", b"5", b"6"]})
    step(store, "b", 3)
    store.claims.declare_dead(ME)
    store.claims.recover(ME, [Move(SNOOZE, "b:1:q", b"1", 60.0)])
    assert step(store, "b", 3).claimed == []
    contents = look()
    assert contents.claims == {ME: {"b:2:q": b"2", "b:3:q": b"3"}}
    assert contents.payloads() == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_results_sent_again_change_nothing(store: Store, look: Look) -> None:
    names = claimed(store, b"1", b"2", b"3")
    moves = [Move(RETRY, names[1], b"2'", 60.0), Move(BURY, names[2], b"3'")]
    step(store, done=names[:1], moves=moves)
    before = look()
    again = step(store, done=names[:1], moves=moves)
    assert again.fenced == 3
    assert again.refused == {}
    before.counters["fenced"] = 3
    assert look() == _with_leases_of(before, look())


# Results ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "place", "counts"),
    [
        ("ack", "", {"processed": 1}),
        (RETRY, "retry", {"processed": 1, "failed": 1}),
        (SNOOZE, "schedule", {"snooze": 1}),
        (BURY, "dead", {"processed": 1, "failed": 1}),
        (FORGET, "", {"processed": 1, "failed": 1, "forget": 1}),
        (BACK, "q", {"back": 1}),
        (SKIPPED, "", {"processed": 1, "skipped": 1}),
        (EXPIRED, "", {"processed": 1, "expired": 1}),
        (DISCARDED, "", {"processed": 1, "discarded": 1}),
    ],
)
def test_each_verb_moves_and_counts(
    store: Store, look: Look, verb: str, place: str, counts: dict[str, int]
) -> None:
    (name,) = claimed(store, b"job")
    if verb == "ack":
        found = step(store, done=[name])
    else:
        queue = "q" if verb == BACK else ""
        found = step(store, moves=[Move(verb, name, b"written", 30.0, queue)])
    assert (found.fenced, found.refused) == (0, {})
    contents = look()
    assert contents.claims == {}
    assert contents.counters == counts
    assert list(contents.jobs()) == {
        "": [],
        "q": [("queue q", b"job")],  # given back as it was claimed
    }.get(place, [(place, b"written")])


@pytest.mark.parametrize(("verb", "place"), [(RETRY, "retry"), (SNOOZE, "schedule")])
def test_a_delay_is_counted_from_now(store: Store, look: Look, verb: str, place: str) -> None:
    (name,) = claimed(store, b"job")
    before = time.time()
    step(store, moves=[Move(verb, name, b"job", 3600.25)])
    after = time.time()
    # The clock is the server's, which is this machine's; a microsecond is rounded.
    assert before + 3600.249 <= look().sets[place][b"job"] <= after + 3600.251


def test_a_job_given_back_runs_next(store: Store) -> None:
    store.queues.push({"q": [b"1", b"2"]})
    (claim,) = step(store, "a", 1).claimed
    step(store, moves=[Move(BACK, claim.field, queue="q")])
    assert [found.raw for found in step(store, "b", 2).claimed] == [b"1", b"2"]


def test_a_job_may_be_given_back_and_claimed_in_one_step(store: Store) -> None:
    (name,) = claimed(store, b"job")
    found = step(store, "again", 1, moves=[Move(BACK, name, queue="q")])
    assert found.claimed == [Claim("again:1:q", "q", b"job")]


def test_results_of_claims_that_are_not_ours_are_fenced(store: Store, look: Look) -> None:
    names = claimed(store, *[b"%d" % n for n in range(9)])
    store.claims.declare_dead(ME)
    store.claims.recover(ME, [Move(BACK, name, b"x", queue="q") for name in names])
    before = look()
    verbs = [RETRY, SNOOZE, BURY, FORGET, SKIPPED, EXPIRED, DISCARDED]
    moves = [Move(verb, name, b"late") for verb, name in zip(verbs, names[2:], strict=True)]
    found = step(store, done=names[:1], moves=[*moves, Move(BACK, names[1], queue="q")])
    assert found.fenced == 9
    assert found.lapsed
    contents = look()
    assert list(contents.jobs()) == list(before.jobs())
    assert contents.counters == {"recovered": 9, "fenced": 9}


def test_a_step_renews_the_lease_and_tells_that_it_had_lapsed(
    store: Store, raw: redis.Redis
) -> None:
    assert step(store).lapsed
    assert not step(store).lapsed
    raw.zadd(store.keys.leases, {ME: 1})
    assert step(store).lapsed
    assert store.claims.leases()[ME] > time.time() + LEASE - 10
    store.claims.declare_dead(ME)
    assert step(store).lapsed


def test_counters_of_a_day_are_kept_for_five_years(
    store: Store, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1_700_000_000.0)
    day = "2023-11-14"
    names = claimed(store, b"1", b"2", b"3")
    step(store, done=names[:1], moves=[Move(RETRY, names[1], b"2")])
    keys = [store.keys.processed_on(day), store.keys.failed_on(day)]
    assert [raw.get(key) for key in keys] == [b"2", b"1"]
    assert all(FIVE_YEARS - 100 < raw.ttl(key) <= FIVE_YEARS for key in keys)
    raw.expire(keys[0], 1000)
    step(store, done=names[2:])
    assert raw.ttl(keys[0]) <= 1000


# The dead set ----------------------------------------------------------------


def test_the_dead_set_keeps_the_newest(redis_server: RedisServer, key_prefix: str) -> None:
    store = Store(redis_server.url, prefix=key_prefix, dead_entries=3)
    for n in range(5):
        (name,) = claimed(store, b"%d" % n)
        step(store, moves=[Move(BURY, name, b"%d" % n)])
    assert [raw for raw, _ in store.sets.page("dead")] == [b"2", b"3", b"4"]
    store.close()


def test_the_dead_set_forgets_the_old(
    redis_server: RedisServer, key_prefix: str, raw: redis.Redis
) -> None:
    store = Store(redis_server.url, prefix=key_prefix, dead_age=100.0)
    now = time.time()
    raw.zadd(store.keys.dead, {b"old": now - 110, b"young": now - 50})
    (name,) = claimed(store, b"new")
    step(store, moves=[Move(BURY, name, b"new")])
    assert [entry for entry, _ in store.sets.page("dead")] == [b"young", b"new"]
    store.close()


def test_other_results_do_not_trim_the_dead_set(
    redis_server: RedisServer, key_prefix: str, raw: redis.Redis
) -> None:
    store = Store(redis_server.url, prefix=key_prefix, dead_entries=1, dead_age=1.0)
    raw.zadd(store.keys.dead, {b"a": 1, b"b": 2})
    (name,) = claimed(store, b"job")
    step(store, moves=[Move(RETRY, name, b"job")])
    assert len(store.sets.page("dead")) == 2
    store.close()


# The suspect -----------------------------------------------------------------


def test_the_suspect_is_marked_while_its_claim_is_held(store: Store, look: Look) -> None:
    names = claimed(store, b"1", b"2")
    step(store, suspect=names[0])
    assert look().suspects == {ME: names[0]}
    assert store.claims.held(ME)[1] == names[0]
    assert store.claims.fields(ME) == set(names)
    assert store.claims.count(ME) == 2
    step(store, done=names[:1], suspect=names[1])
    assert look().suspects == {ME: names[1]}
    step(store, done=names[1:])
    assert look().suspects == {}


def test_a_suspect_that_is_not_ours_is_not_marked(store: Store, look: Look) -> None:
    claimed(store, b"1")
    step(store, suspect="gone:1:q")
    assert look().suspects == {}


# Keys of a wrong type --------------------------------------------------------


@pytest.mark.parametrize("broken", ["leases", "claims"])
def test_a_step_that_cannot_stand_on_its_keys_writes_nothing(
    store: Store, raw: redis.Redis, look: Look, broken: str
) -> None:
    names = claimed(store, b"1", b"2", b"3")
    step(store, suspect=names[2])
    store.queues.push({"q": [b"4"]})
    before = look()
    key = store.keys.leases if broken == "leases" else store.keys.claims(ME)
    with wrong_type(raw, key), pytest.raises(StoreRefused):
        step(store, "b", 1, done=names[:1], moves=[Move(RETRY, names[1], b"x")])
    assert look() == before


@pytest.mark.parametrize(
    ("broken", "refused"),
    [
        ("retry", [RETRY]),
        ("schedule", [SNOOZE]),
        ("dead", [BURY]),
        ("q", [BACK]),
        ("other", []),
        ("paused", []),
        ("counters", []),
        ("processed", []),
        ("failed", []),
        ("processed today", []),
        ("failed today", []),
    ],
)
def test_a_key_of_a_wrong_type_loses_nothing_and_stops_nothing_else(
    store: Store, raw: redis.Redis, look: Look, broken: str, refused: list[str]
) -> None:
    keys, today = store.keys, clock.utc_day()
    named = {
        "retry": keys.retry, "schedule": keys.schedule, "dead": keys.dead, "q": keys.queue("q"),
        "other": keys.queue("other"), "paused": keys.paused, "counters": keys.counters,
        "processed": keys.processed, "failed": keys.failed,
        "processed today": keys.processed_on(today), "failed today": keys.failed_on(today),
    }  # fmt: skip
    verbs = [RETRY, SNOOZE, BURY, BACK, FORGET]
    names = claimed(store, b"ack", *[verb.encode() for verb in verbs])
    store.queues.push({"q": [b"waiting"], "other": [b"also waiting"]})
    moves = [
        Move(verb, name, verb.encode(), 60.0, "q" if verb == BACK else "")
        for verb, name in zip(verbs, names[1:], strict=True)
    ]
    with wrong_type(raw, named[broken]):
        found = step(store, "b", 5, ["q", "other"], done=names[:1], moves=moves)
        assert found.fenced == 0
        assert {store_field: "WRONGTYPE" in why for store_field, why in found.refused.items()} == {
            move.field: True for move in moves if move.verb in refused
        }
        assert set(found.broken) == {broken} & {"q", "other"}
        # Given back and claimed again in the same step, unless its queue is the broken one.
        expected = {"q": [b"back", b"waiting"], "other": [b"also waiting"]}
        expected.pop(broken, None)
        assert [claim.raw for claim in found.claimed] == [*chain(*expected.values())]
    contents = look()
    assert contents.payloads() == sorted(
        [b"retry", b"snooze", b"bury", b"back", b"waiting", b"also waiting"]
    )
    still_claimed = {move.field for move in moves if move.verb in refused}
    assert set(contents.claims[ME]) == still_claimed | {claim.field for claim in found.claimed}
    # What was refused is delivered once the key is mended.
    again = step(store, moves=[move for move in moves if move.verb in refused])
    assert (again.refused, again.fenced) == ({}, 0)


def _with_leases_of(contents: Contents, other: Contents) -> Contents:
    """Return the contents with the leases of the other: every step renews them."""
    contents.leases = other.leases
    return contents
