"""Recovery: what a dead process held comes back, unless it is not dead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import BACK, BURY, SNOOZE, Claim, Move, Recovery
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.support.server import RedisServer

Look = Callable[[], Contents]

ME = "host:1:abc"


def die_with(store: Store, *payloads: bytes, suspect: int | None = None) -> list[Claim]:
    """Let a process die that holds these jobs, one of them marked as the suspect."""
    store.queues.push({"q": payloads})
    claims = store.claims.step(ME, lease=60, batch="b", wanted=len(payloads), queues=["q"]).claimed
    if suspect is not None:
        field = claims[suspect].field
        store.claims.step(ME, lease=60, batch="c", wanted=0, queues=[], suspect=field)
    store.claims.declare_dead(ME)
    return claims


def back(claim: Claim, payload: bytes | None = None, *, read: bytes = b"") -> Move:
    """Return the move that gives a claim back."""
    return Move(BACK, claim.field, payload or claim.raw, queue=claim.queue, read=read)


def test_each_verb_moves_and_the_lease_ends_with_the_last(store: Store, look: Look) -> None:
    one, two, three = die_with(store, b"1", b"2", b"3")
    before = time.time()
    found = store.claims.recover(
        ME,
        [back(one, b"1'"), Move(SNOOZE, two.field, b"2'", 60.0), Move(BURY, three.field, b"3'")],
    )
    after = time.time()
    assert found == Recovery(moved=3)
    contents = look()
    assert contents.queues == {"q": [b"1'"]}
    assert before + 59.9 <= contents.sets["schedule"][b"2'"] <= after + 60.1
    assert before - 0.1 <= contents.sets["dead"][b"3'"] <= after + 0.1
    assert (contents.claims, contents.leases) == ({}, {})
    assert contents.counters == {"recovered": 3}


def test_a_job_given_back_runs_next_and_its_queue_is_registered(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    (claim,) = die_with(store, b"1")
    store.queues.push({"q": [b"2"]})
    raw.delete(store.keys.queues)
    store.claims.recover(ME, [back(claim)])
    assert store.queues.page("q") == [b"1", b"2"]
    assert look().registered == {"q"}


def test_a_live_process_keeps_its_claims(store: Store, look: Look) -> None:
    (claim,) = die_with(store, b"1")
    store.claims.beat(ME, 60.0)
    before = look()
    assert store.claims.recover(ME, [back(claim)]) == Recovery(alive=True)
    assert look() == before


@pytest.mark.parametrize("state", ["dead", "lapsed", "lost"])
def test_claims_without_a_live_lease_are_taken(
    store: Store, raw: redis.Redis, look: Look, state: str
) -> None:
    (claim,) = die_with(store, b"1")
    if state == "lapsed":
        raw.zadd(store.keys.leases, {ME: time.time() * 1000 - 1000})
    elif state == "lost":
        raw.zrem(store.keys.leases, ME)
    assert store.claims.recover(ME, [back(claim)]).moved == 1
    assert look().queues == {"q": [b"1"]}


def test_a_claim_that_is_gone_is_not_moved_again(store: Store, look: Look) -> None:
    one, two = die_with(store, b"1", b"2")
    store.claims.recover(ME, [back(one)])
    assert store.claims.recover(ME, [back(one), back(two)]).moved == 1
    assert look().payloads() == [b"1", b"2"]
    assert look().counters == {"recovered": 2}


def test_a_claim_that_is_another_job_by_now_is_left_alone(store: Store, look: Look) -> None:
    (claim,) = die_with(store, b"1")
    store.claims.recover(ME, [Move(SNOOZE, claim.field, b"1", 60.0)])
    die_with(store, b"2")  # by the same name
    assert store.claims.recover(ME, [back(claim, read=b"1")]).moved == 0
    assert look().claims == {ME: {claim.field: b"2"}}
    assert store.claims.recover(ME, [back(claim, b"2", read=b"2")]).moved == 1


def test_two_recoverers_move_a_claim_once(store: Store, look: Look) -> None:
    claims = die_with(store, *[b"%d" % n for n in range(10)])
    moved = [store.claims.recover(ME, [back(claim) for claim in claims]).moved for _ in range(2)]
    assert moved == [10, 0]
    assert len(look().payloads()) == 10


def test_a_dead_process_without_claims_is_forgotten(store: Store, look: Look) -> None:
    store.claims.join(ME, 60.0)
    store.claims.declare_dead(ME)
    assert store.claims.recover(ME, []) == Recovery()
    assert look() == Contents()


def test_the_mark_of_the_suspect_stays_until_the_last_claim(store: Store, look: Look) -> None:
    one, two, three = die_with(store, b"1", b"2", b"3", suspect=0)
    store.claims.recover(ME, [back(one)])
    assert store.claims.held(ME) == ([two, three], one.field)
    store.claims.recover(ME, [back(two)])
    assert store.claims.held(ME) == ([three], one.field)
    store.claims.recover(ME, [back(three)])
    assert look().suspects == {}
    assert look().leases == {}


@pytest.mark.parametrize(
    ("broken", "verbs"), [("q", [BACK]), ("schedule", [SNOOZE]), ("dead", [BURY])]
)
def test_what_redis_refuses_stays_claimed_and_the_rest_moves(
    store: Store, raw: redis.Redis, look: Look, broken: str, verbs: Sequence[str]
) -> None:
    claims = die_with(store, b"back", b"snooze", b"bury", suspect=1)
    moves = [
        Move(verb, claim.field, claim.raw, queue="q" if verb == BACK else "")
        for verb, claim in zip((BACK, SNOOZE, BURY), claims, strict=True)
    ]
    keys = store.keys
    key = {"q": keys.queue("q"), "schedule": keys.schedule, "dead": keys.dead}[broken]
    with wrong_type(raw, key):
        found = store.claims.recover(ME, moves)
    assert found.moved == 2
    assert {field: "WRONGTYPE" in why for field, why in found.refused.items()} == {
        move.field: True for move in moves if move.verb in verbs
    }
    assert look().payloads() == [b"back", b"bury", b"snooze"]
    assert look().suspects == {ME: claims[1].field}
    assert look().leases == {ME: 0.0}
    assert store.claims.recover(ME, moves).moved == 1
    assert look().payloads() == [b"back", b"bury", b"snooze"]
    assert look().leases == {}


@pytest.mark.parametrize("broken", ["leases", "claims"])
def test_a_recovery_that_cannot_stand_on_its_keys_writes_nothing(
    store: Store, raw: redis.Redis, look: Look, broken: str
) -> None:
    (claim,) = die_with(store, b"1")
    before = look()
    key = store.keys.leases if broken == "leases" else store.keys.claims(ME)
    with wrong_type(raw, key), pytest.raises(StoreRefused):
        store.claims.recover(ME, [back(claim)])
    assert look() == before


@pytest.mark.parametrize("broken", ["queues", "counters"])
def test_books_of_a_wrong_type_do_not_stop_a_recovery(
    store: Store, raw: redis.Redis, look: Look, broken: str
) -> None:
    (claim,) = die_with(store, b"1")
    with wrong_type(raw, getattr(store.keys, broken)):
        assert store.claims.recover(ME, [back(claim)]).moved == 1
    assert look().queues == {"q": [b"1"]}


def test_the_dead_set_is_kept_small(redis_server: RedisServer, key_prefix: str) -> None:
    store = Store(redis_server.url, prefix=key_prefix, dead_entries=2)
    claims = die_with(store, b"1", b"2", b"3")
    for claim in claims:
        store.claims.recover(ME, [Move(BURY, claim.field, claim.raw)])
    assert [raw for raw, _ in store.sets.page("dead")] == [b"2", b"3"]
    store.close()


def test_payloads_come_back_as_opaque_bytes(store: Store, look: Look) -> None:
    odd = [b"12345678901234567890", b"[]", b"{}", b"\xff\x00", b"\x00"]
    claims = die_with(store, *odd)
    assert [claim.raw for claim in store.claims.held(ME)[0]] == odd
    store.claims.recover(ME, [back(claim, read=claim.raw) for claim in claims])
    assert look().queues == {"q": odd}
