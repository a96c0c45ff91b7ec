"""Held jobs: how they come there, that nothing of them is lost, and how fast they may go."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import HELD, Move
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH, Promotion
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.uniques import TTL, claim, deliver, digest_of, end, jid_of, unique_job
from tests.support.polling import wait_until
from tests.support.server import RedisServer

Look = Callable[[], Contents]

#: Seconds by which a time may be off, on a machine that has other things to do.
SLOW = 100.0

ODD = [b"12345678901234567890", b"[]", b"{}", b"\xff\x00", b"\x00", b""]


def hold(store: Store, *payloads: bytes, job_class: str = "C") -> None:
    """Let jobs of a class be held by a worker."""
    store.queues.push({"held": payloads})
    claims = claim(store, len(payloads), "to hold", "held")
    found = deliver(
        store, [Move(HELD, found.field, found.raw, job_class=job_class) for found in claims]
    )
    assert (found.refused, found.fenced) == ({}, 0)


# In --------------------------------------------------------------------------


def test_a_worker_holds_jobs_by_their_class(store: Store, look: Look) -> None:
    before = time.time()
    hold(store, b"1", b"2")
    hold(store, b"3", job_class="shop.jobs.Other")
    contents = look()
    assert set(contents.sets) == {"held C", "held shop.jobs.Other"}
    assert contents.claims == {}
    # Held is not processed: nothing has run.
    assert contents.counters == {}
    assert store.held.classes() == {"C": 2, "shop.jobs.Other": 1}
    for payload, since in store.held.page("C"):
        assert payload in (b"1", b"2")
        assert since == pytest.approx(before, abs=SLOW)


def test_held_payloads_are_opaque_and_written_as_the_worker_says(store: Store, look: Look) -> None:
    hold(store, *ODD)
    assert sorted(payload for payload, _ in store.held.page("C")) == sorted(ODD)
    store.queues.push({"q": [b"before"]})
    (claimed,) = claim(store)
    deliver(store, [Move(HELD, claimed.field, b"after", job_class="D")])
    assert set(look().sets["held D"]) == {b"after"}


def test_jobs_that_are_held_at_once_keep_their_order(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    payloads = [b"%d" % n for n in (9, 1, 8, 2, 7, 3, 6, 4, 5, 0)]
    hold(store, *payloads)
    raw.zadd(store.keys.schedule, {payload: n for n, payload in enumerate(payloads)})
    due = [Promotion(HOLD, payload, payload, job_class="D") for payload in payloads]
    assert store.sets.promote("schedule", due) == (10, {})
    for job_class in "CD":
        assert [payload for payload, _ in store.held.page(job_class)] == payloads
    going = [Promotion(PUSH, payload, payload, "q") for payload, _ in store.held.page("C")]
    store.sets.release("C", going)
    assert store.queues.page("q") == payloads


def test_a_job_that_is_held_twice_stands_there_once(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"1"]})
    (claimed,) = claim(store)
    move = Move(HELD, claimed.field, b"1", job_class="C")
    assert deliver(store, [move]).fenced == 0
    before = look()
    assert deliver(store, [move]).fenced == 1
    assert look().sets == before.sets


def test_a_job_stays_claimed_while_its_class_cannot_be_held(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    store.queues.push({"q": [b"1", b"2"]})
    one, two = claim(store, 2)
    moves = [
        Move(HELD, one.field, b"1", job_class="bad"),
        Move(HELD, two.field, b"2", job_class="C"),
    ]
    with wrong_type(raw, store.keys.held("bad")):
        found = deliver(store, moves)
    assert set(found.refused) == {one.field}
    assert "WRONGTYPE" in found.refused[one.field]
    assert sorted(look().jobs()) == [(f"claims of {'host:1:abc'}", b"1"), ("held C", b"2")]


def test_a_due_job_is_held_by_its_class(store: Store, raw: redis.Redis, look: Look) -> None:
    raw.zadd(store.keys.schedule, {b"1": 1, b"2": 2})
    raw.zadd(store.keys.retry, {b"3": 3})
    assert store.sets.promote(
        "schedule",
        [Promotion(HOLD, b"1", b"1'", job_class="C"), Promotion(HOLD, b"2", b"2", job_class="D")],
    ) == (2, {})
    assert store.sets.promote("retry", [Promotion(HOLD, b"3", b"3", job_class="C")]) == (1, {})
    assert sorted(look().jobs()) == [("held C", b"1'"), ("held C", b"3"), ("held D", b"2")]
    assert store.held.classes() == {"C": 2, "D": 1}
    assert look().registered == set()


def test_a_due_job_stays_where_it_is_while_its_class_cannot_be_held(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    raw.zadd(store.keys.retry, {b"1": 1, b"2": 2})
    promotions = [
        Promotion(HOLD, b"1", b"1'", job_class="bad"),
        Promotion(HOLD, b"2", b"2'", job_class="C"),
    ]
    with wrong_type(raw, store.keys.held("bad")):
        moved, refused = store.sets.promote("retry", promotions)
    assert moved == 1
    assert "WRONGTYPE" in refused[0]
    assert sorted(look().jobs()) == [("held C", b"2'"), ("retry", b"1")]


def test_the_list_of_classes_is_not_needed_to_hold_a_job(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    raw.zadd(store.keys.retry, {b"2": 1})
    with wrong_type(raw, store.keys.held_classes):
        hold(store, b"1")
        promotion = Promotion(HOLD, b"2", b"2", job_class="C")
        assert store.sets.promote("retry", [promotion]) == (1, {})
    assert set(look().sets["held C"]) == {b"1", b"2"}


# Out -------------------------------------------------------------------------


def test_released_jobs_go_to_their_queues_once(store: Store, look: Look) -> None:
    hold(store, b"1", b"2", b"3")
    promotions = [Promotion(PUSH, b"1", b"1'", "a"), Promotion(PUSH, b"2", b"2'", "b")]
    assert store.sets.release("C", promotions) == (2, {})
    contents = look()
    assert contents.queues == {"a": [b"1'"], "b": [b"2'"]}
    assert set(contents.sets["held C"]) == {b"3"}
    assert contents.registered >= {"a", "b"}
    assert store.sets.release("C", promotions) == (0, {})
    assert look() == contents


def test_a_job_whose_queue_cannot_take_it_stays_held(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    hold(store, b"1", b"2")
    promotions = [Promotion(PUSH, b"1", b"1", "bad"), Promotion(PUSH, b"2", b"2", "good")]
    with wrong_type(raw, store.keys.queue("bad")):
        moved, refused = store.sets.release("C", promotions)
    assert (moved, set(refused)) == (1, {0})
    assert sorted(look().jobs()) == [("held C", b"1"), ("queue good", b"2")]


@pytest.mark.parametrize("verb", [HOLD, LATER])
@pytest.mark.parametrize("new", [b"1", b"1'"])
def test_a_held_job_that_is_held_again_stays(
    store: Store, look: Look, verb: str, new: bytes
) -> None:
    hold(store, b"1")
    promotion = Promotion(verb, b"1", new, delay=60.0, job_class="C")
    assert store.sets.release("C", [promotion]) == (1, {})
    assert list(look().jobs()) == [("held C", new)]


def test_a_held_job_moves_to_another_class(store: Store, look: Look) -> None:
    hold(store, b"1")
    assert store.sets.release("C", [Promotion(HOLD, b"1", b"1", job_class="D")]) == (1, {})
    assert list(look().jobs()) == [("held D", b"1")]


def test_a_held_set_of_a_wrong_type_stops_its_release_before_it_wrote(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    hold(store, b"1")
    before = look()
    with wrong_type(raw, store.keys.held("C")), pytest.raises(StoreRefused):
        store.sets.release("C", [Promotion(PUSH, b"1", b"1", "q")])
    assert look() == before


def test_a_held_job_is_locked_until_it_is_released_and_then_for_its_time(
    store: Store, look: Look
) -> None:
    job = unique_job(1)
    store.queues.push_unique([job])
    end(store, HELD, *claim(store))
    assert look().ttls == {digest_of(0): -1}
    assert store.queues.push_unique([unique_job(2)], healing=True) == {0: jid_of(1)}
    released = Promotion(PUSH, job.raw, job.raw, "q", lock=job.lock)
    assert store.sets.release("C", [released]) == (1, {})
    assert look().ttls[digest_of(0)] == pytest.approx(TTL, abs=SLOW)
    assert store.queues.push_unique([unique_job(3)], healing=True) == {0: jid_of(1)}
    assert look().payloads() == [job.raw]


def test_a_held_job_that_is_dropped_is_locked_no_longer(store: Store, look: Look) -> None:
    job = unique_job(1)
    store.queues.push_unique([job])
    end(store, HELD, *claim(store))
    assert store.sets.release("C", [Promotion(DROP, job.raw, lock=job.lock)]) == (1, {})
    assert (look().locks, list(look().jobs())) == ({}, [])


# The list of classes ---------------------------------------------------------


def test_a_class_is_forgotten_only_when_nothing_of_it_is_held(store: Store, look: Look) -> None:
    hold(store, b"1")
    store.held.forget_empty("C")
    assert look().held_classes == {"C"}
    store.sets.release("C", [Promotion(PUSH, b"1", b"1", "q")])
    assert store.held.classes() == {}
    assert look().held_classes == {"C"}
    store.held.forget_empty("C")
    assert look().held_classes == set()
    store.held.forget_empty("never seen")


def test_pages_have_the_longest_held_first(store: Store, raw: redis.Redis) -> None:
    raw.zadd(store.keys.held("C"), {b"2": 2.5, b"1": 1.25, b"3": 3})
    assert store.held.page("C", 0, 2) == [(b"1", 1.25), (b"2", 2.5)]
    assert store.held.page("C", 2, 2) == [(b"3", 3.0)]
    assert store.held.page("D") == []
    assert store.held.classes() == {}


# How many may go -------------------------------------------------------------


def state_of(store: Store, raw: redis.Redis) -> tuple[int, int, float]:
    """Return when was last asked and since when is released (ms), and what is left."""
    found = raw.hget(store.keys.releases, "C")
    assert isinstance(found, bytes)
    last, began, rest = found.decode().split(":")
    return int(last), int(began), float(rest)


def write_state(
    store: Store, raw: redis.Redis, *, asked: float, began: float, rest: float = 0.0
) -> None:
    """Pretend that somebody asked, and began, so many seconds ago."""
    seconds, micro = raw.time()
    now = seconds * 1000 + micro // 1000
    state = f"{now - int(asked * 1000)}:{now - int(began * 1000)}:{rest:.3f}"
    raw.hset(store.keys.releases, "C", state)


def test_two_stores_that_ask_without_a_pause_share_the_rate(
    redis_server: RedisServer, key_prefix: str
) -> None:
    """Bounded from above only: who is asked seldom allows less."""
    rate = 200.0
    stores = [Store(redis_server.url, prefix=key_prefix, timeout=10.0) for _ in range(2)]
    allowed = 0
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        for store in stores:
            allowed += store.held.allow("C", rate=rate, ramp=0.0, wanted=100)
    elapsed = time.monotonic() - began
    for store in stores:
        store.close()
    # One at once, and one for the rounding of the server's milliseconds.
    assert 1 <= allowed <= rate * elapsed + 2


def test_in_the_end_everything_may_go(store: Store) -> None:
    total = 0

    def enough() -> bool:
        nonlocal total
        total += store.held.allow("C", rate=1000.0, ramp=0.0, wanted=10)
        return total >= 50

    wait_until(enough, what="50 jobs to be allowed")


def test_never_more_are_allowed_than_are_wanted_and_the_rest_is_kept(
    store: Store, raw: redis.Redis
) -> None:
    write_state(store, raw, asked=0.5, began=100.0)
    assert store.held.allow("C", rate=1000.0, ramp=0.0, wanted=0) == 0
    assert store.held.allow("C", rate=1000.0, ramp=0.0, wanted=20) == 20
    assert state_of(store, raw)[2] >= 80


def test_what_was_not_used_is_saved_up_for_a_tenth_of_a_second_at_most(
    store: Store, raw: redis.Redis
) -> None:
    write_state(store, raw, asked=5.0, began=100.0, rest=50.0)
    assert store.held.allow("C", rate=100.0, ramp=0.0, wanted=1000) == 10


def test_a_slow_release_is_still_one_of_whole_jobs(store: Store, raw: redis.Redis) -> None:
    write_state(store, raw, asked=5.0, began=100.0)
    assert store.held.allow("C", rate=0.5, ramp=0.0, wanted=1000) == 1


def test_a_release_begins_at_a_tenth_of_the_rate_and_grows(store: Store, raw: redis.Redis) -> None:
    """Of 1,000 a second: what is saved up within a tenth of a second tells how many it is now."""
    write_state(store, raw, asked=1.0, began=1.0)
    at_first = store.held.allow("C", rate=1000.0, ramp=3600.0, wanted=5000)
    assert at_first == 10
    write_state(store, raw, asked=1.0, began=1800.0)
    assert store.held.allow("C", rate=1000.0, ramp=3600.0, wanted=5000) == 55
    write_state(store, raw, asked=1.0, began=7200.0)
    assert store.held.allow("C", rate=1000.0, ramp=3600.0, wanted=5000) == 100


@pytest.mark.parametrize("asked", [11.0, 86_400.0, -60.0], ids=["pause", "day", "clock set back"])
def test_a_release_after_a_pause_begins_anew(store: Store, raw: redis.Redis, asked: float) -> None:
    write_state(store, raw, asked=asked, began=100_000.0, rest=500.0)
    assert store.held.allow("C", rate=1000.0, ramp=3600.0, wanted=5000) == 1
    last, began, _ = state_of(store, raw)
    assert last == began


def test_a_state_that_cannot_be_read_is_written_anew(store: Store, raw: redis.Redis) -> None:
    raw.hset(store.keys.releases, "C", "nonsense")
    assert store.held.allow("C", rate=1000.0, ramp=3600.0, wanted=5000) == 1


def test_each_class_has_a_rate_of_its_own(store: Store, raw: redis.Redis) -> None:
    write_state(store, raw, asked=5.0, began=100.0)
    assert store.held.allow("C", rate=100.0, ramp=0.0, wanted=1000) == 10
    assert store.held.allow("D", rate=100.0, ramp=0.0, wanted=1000) == 1
    assert 0 < raw.ttl(store.keys.releases) <= 3600


def test_a_state_of_a_wrong_type_allows_nothing(store: Store, raw: redis.Redis) -> None:
    with wrong_type(raw, store.keys.releases), pytest.raises(StoreRefused):
        store.held.allow("C", rate=1000.0, ramp=0.0, wanted=1)
