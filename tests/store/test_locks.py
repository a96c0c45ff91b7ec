"""The locks of unique jobs: they follow their jobs, and nobody else's job frees them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    DONE,
    DROPPED,
    EXPIRED,
    FORGET,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
)
from django_jobqueue.store.removal import Place
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH, Promotion
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.uniques import (
    ME,
    TTL,
    claim,
    deliver,
    digest_of,
    end,
    jid_of,
    lock_of,
    move_of,
    unique_job,
)
from tests.support.server import RedisServer

Look = Callable[[], Contents]

#: Seconds by which a ttl may be off, on a machine that has other things to do.
SLOW = 100.0

DAY = 86_400.0

#: All verbs after which a job is no more, and those of them that are a death.
ENDS = (DONE, BURY, FORGET, SKIPPED, EXPIRED, DISCARDED, DROPPED)
DEATHS = (BURY, FORGET, DISCARDED)


def lasts(contents: Contents, row: int = 0) -> float:
    """Return for how many seconds a lock lasts."""
    return contents.ttls[digest_of(row)]


# Results ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", ENDS)
def test_every_end_of_a_job_frees_its_lock(store: Store, look: Look, verb: str) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, verb, *claim(store))
    assert look().locks == {}
    assert look().claims == {}
    assert store.queues.push_unique([unique_job(2)]) == {}


@pytest.mark.parametrize(
    ("verb", "delay", "ttl"),
    [
        (RETRY, 7200.0, 7200.0 + TTL),
        (SNOOZE, 30.0, 30.0 + TTL),
        (RETRY, -7200.0, TTL),
        (SNOOZE, -TTL, TTL),
        (BACK, 0.0, TTL),
        (HELD, 0.0, -1.0),
    ],
)
def test_a_job_that_waits_on_keeps_its_lock_until_then_and_its_own_time(
    store: Store, raw: redis.Redis, look: Look, verb: str, delay: float, ttl: float
) -> None:
    store.queues.push_unique([unique_job(1)])
    (claimed,) = claim(store)
    raw.pexpire(store.keys.unique(digest_of(0)), 200_000)
    end(store, verb, claimed, delay=delay)
    assert look().locks == {digest_of(0): jid_of(1)}
    assert lasts(look()) == pytest.approx(ttl, abs=0 if ttl < 0 else SLOW)
    assert store.queues.push_unique([unique_job(2)]) == {0: jid_of(1)}


@pytest.mark.parametrize("verb", [RETRY, SNOOZE, BACK, HELD])
def test_a_lock_that_has_run_out_is_taken_again_by_a_job_that_waits_on(
    store: Store, raw: redis.Redis, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1)])
    (claimed,) = claim(store)
    raw.delete(store.keys.unique(digest_of(0)))
    end(store, verb, claimed)
    assert look().locks == {digest_of(0): jid_of(1)}


@pytest.mark.parametrize("verb", [*ENDS, RETRY, SNOOZE, BACK, HELD])
def test_an_old_copy_leaves_the_lock_of_a_newer_job(
    store: Store, raw: redis.Redis, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (old,) = claim(store)
    raw.delete(store.keys.unique(digest_of(0)))
    newer = [unique_job(2, queue="other"), unique_job(3, rerun=True)]
    assert store.queues.push_unique(newer) == {1: jid_of(2)}
    raw.pexpire(store.keys.unique(digest_of(0)), 3_600_000)
    before = look()
    end(store, verb, old, delay=60.0, cooldown=60.0)
    contents = look()
    assert contents.locks == {digest_of(0): jid_of(2)}
    assert lasts(contents) == pytest.approx(3600, abs=SLOW)
    assert (contents.reruns, contents.tombstones) == (before.reruns, {})
    assert store.queues.push_unique([unique_job(4)]) == {0: jid_of(2)}


@pytest.mark.parametrize("verb", [*ENDS, RETRY, HELD])
def test_a_result_that_comes_too_late_does_not_touch_the_lock(
    store: Store, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([unique_job(2, rerun=True)])
    store.claims.declare_dead(ME)
    assert store.claims.recover(ME, [move_of(BACK, claimed)]).moved == 1
    before = look()
    assert end(store, verb, claimed, delay=60.0, cooldown=60.0).fenced == 1
    after = look()
    assert (after.locks, after.reruns, after.queues) == (
        before.locks, before.reruns, before.queues,
    )  # fmt: skip
    assert lasts(after) == pytest.approx(TTL, abs=SLOW)


@pytest.mark.parametrize("verb", [DONE, BURY, RETRY, HELD])
def test_a_result_that_is_sent_again_counts_once_for_its_lock(
    store: Store, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([unique_job(2, rerun=True)])
    end(store, verb, claimed, delay=60.0, cooldown=3600.0)
    before = look()
    assert end(store, verb, claimed, delay=60.0, cooldown=3600.0).fenced == 1
    after = look()
    assert (after.locks, after.tombstones, after.reruns, after.queues, after.sets) == (
        before.locks, before.tombstones, before.reruns, before.queues, before.sets,
    )  # fmt: skip


def test_a_result_that_redis_refuses_leaves_the_lock(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    store.queues.push_unique([unique_job(1)])
    (claimed,) = claim(store)
    for verb, key in (
        (RETRY, store.keys.retry), (SNOOZE, store.keys.schedule), (BURY, store.keys.dead),
        (HELD, store.keys.held("C")), (BACK, store.keys.queue("q")),
    ):  # fmt: skip
        with wrong_type(raw, key):
            assert set(end(store, verb, claimed, delay=9000.0).refused) == {claimed.field}
        assert look().locks == {digest_of(0): jid_of(1)}
        assert lasts(look()) == pytest.approx(TTL, abs=SLOW)
        assert look().claims == {ME: {claimed.field: claimed.raw}}


def test_results_of_many_jobs_settle_each_its_own_lock(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(n, n) for n in range(6)])
    claims = claim(store, 6)
    moves = [
        move_of(verb, claimed)
        for verb, claimed in zip((DONE, RETRY, BURY, HELD, BACK), claims, strict=False)
    ]
    deliver(store, moves)
    assert look().locks == {digest_of(n): jid_of(n) for n in (1, 3, 4, 5)}


# Recovery and promotion ------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "delay", "ttl"), [(BACK, 0.0, TTL), (SNOOZE, 60.0, 60.0 + TTL), (BURY, 0.0, None)]
)
def test_a_recovered_job_keeps_its_lock_unless_it_is_buried(
    store: Store, raw: redis.Redis, look: Look, verb: str, delay: float, ttl: float | None
) -> None:
    store.queues.push_unique([unique_job(1)])
    (claimed,) = claim(store)
    raw.pexpire(store.keys.unique(digest_of(0)), 200_000)
    store.claims.declare_dead(ME)
    move = move_of(verb, claimed, delay=delay, cooldown=3600.0)
    for moved in (1, 0):  # sent again, it does nothing
        assert store.claims.recover(ME, [move]).moved == moved
        if ttl is None:
            assert look().locks == {}
            assert look().tombstones[digest_of(0)][0] == 1
        else:
            assert look().locks == {digest_of(0): jid_of(1)}
            assert lasts(look()) == pytest.approx(ttl, abs=SLOW)
            assert store.queues.push_unique([unique_job(2)]) == {0: jid_of(1)}


@pytest.mark.parametrize(
    ("verb", "ttl"), [(PUSH, TTL), (LATER, 3600.0 + TTL), (HOLD, -1.0), (DROP, None)]
)
@pytest.mark.parametrize("lapsed", [False, True], ids=["", "lapsed"])
def test_a_promoted_job_keeps_its_lock_unless_it_is_dropped(
    store: Store, raw: redis.Redis, look: Look, verb: str, ttl: float | None, lapsed: bool
) -> None:
    job = unique_job(1, at=time.time() - 1)
    store.queues.push_unique([job])
    if lapsed:
        raw.delete(store.keys.unique(digest_of(0)))
    promotion = Promotion(
        verb, job.raw, b"new", queue="q", delay=3600.0, job_class="C", lock=job.lock
    )
    for moved in (1, 0):
        assert store.sets.promote("schedule", [promotion]) == (moved, {})
        if ttl is None:
            assert look().locks == {}
        else:
            assert look().locks == {digest_of(0): jid_of(1)}
            assert lasts(look()) == pytest.approx(ttl, abs=0 if ttl < 0 else SLOW)
    assert len(list(look().jobs())) == (verb != DROP)


@pytest.mark.parametrize("verb", [PUSH, LATER, HOLD, DROP])
def test_a_promotion_moves_a_job_whose_lock_is_a_newer_one_and_leaves_that(
    store: Store, raw: redis.Redis, look: Look, verb: str
) -> None:
    job = unique_job(1, at=time.time() - 1)
    store.queues.push_unique([job])
    raw.delete(store.keys.unique(digest_of(0)))
    store.queues.push_unique([unique_job(2, queue="other")])
    promotion = Promotion(
        verb, job.raw, b"new", queue="q", delay=9000.0, job_class="C", lock=job.lock
    )
    assert store.sets.promote("schedule", [promotion]) == (1, {})
    assert look().locks == {digest_of(0): jid_of(2)}
    assert lasts(look()) == pytest.approx(TTL, abs=SLOW)


def test_a_promotion_that_is_refused_leaves_the_lock(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    job = unique_job(1, at=time.time() + 1000)
    store.queues.push_unique([job])
    for verb, key in ((PUSH, store.keys.queue("q")), (HOLD, store.keys.held("C"))):
        promotion = Promotion(verb, job.raw, b"new", queue="q", job_class="C", lock=job.lock)
        with wrong_type(raw, key):
            moved, refused = store.sets.promote("schedule", [promotion])
        assert (moved, list(refused)) == (0, [0])
        assert lasts(look()) == pytest.approx(1000 + TTL, abs=SLOW)
    assert list(look().jobs()) == [("schedule", job.raw)]


def test_a_job_for_an_hour_from_now_is_locked_until_it_has_run(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    """Its lock lasts ten minutes; a duplicate at minute 59 is refused, at minute 69 too."""
    job = unique_job(1, at=time.time() + 3600)
    store.queues.push_unique([job])
    _age(raw, store, 59 * 60)
    assert store.queues.push_unique([unique_job(2)]) == {0: jid_of(1)}
    store.sets.promote("schedule", [Promotion(PUSH, job.raw, job.raw, "q", lock=job.lock)])
    _age(raw, store, 9 * 60)
    assert store.queues.push_unique([unique_job(3)]) == {0: jid_of(1)}
    (claimed,) = claim(store)
    store.locks.renew([lock_of(job)])
    _age(raw, store, 9 * 60)
    assert store.queues.push_unique([unique_job(4)]) == {0: jid_of(1)}
    end(store, DONE, claimed)
    assert look().locks == {}
    assert list(look().jobs()) == []
    assert store.queues.push_unique([unique_job(5)]) == {}


def test_one_copy_stands_while_a_job_waits_hours_for_its_retry(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    """Its lock lasts ten minutes, the retry comes in two hours, somebody heals every minute."""
    job = unique_job(1)
    store.queues.push_unique([job])
    end(store, RETRY, *claim(store), delay=7200.0)
    for minute in range(120):
        _age(raw, store, 60)
        healed = store.queues.push_unique([unique_job(100 + minute)], healing=True)
        assert healed == {0: jid_of(1)}
    store.sets.promote("retry", [Promotion(PUSH, job.raw, job.raw, "q", lock=job.lock)])
    assert store.queues.push_unique([unique_job(2)], healing=True) == {0: jid_of(1)}
    assert look().payloads() == [job.raw]


def _age(client: redis.Redis, store: Store, seconds: int) -> None:
    """Let time go by for the lock of row 0."""
    name = store.keys.unique(digest_of(0))
    client.pexpire(name, client.pttl(name) - seconds * 1000)


# At a job's start, and while it runs -----------------------------------------


def test_a_job_that_is_unique_until_its_start_gives_its_lock_up_there(
    store: Store, look: Look
) -> None:
    job = unique_job(1)
    store.queues.push_unique([job])
    claim(store)
    assert store.locks.start(lock_of(job), release=True)
    assert look().locks == {}
    assert store.queues.push_unique([unique_job(2)]) == {}
    # Sent again, it does not touch the lock of the next.
    assert not store.locks.start(lock_of(job), release=True)
    assert look().locks == {digest_of(0): jid_of(2)}


def test_what_came_before_the_start_is_forgotten_what_comes_after_is_not(
    store: Store, look: Look
) -> None:
    job, before, after = (unique_job(n, rerun=True) for n in (1, 2, 3))
    store.queues.push_unique([job, before])
    (claimed,) = claim(store)
    assert store.locks.start(lock_of(job), release=False)
    assert look().reruns == {}
    assert look().locks == {digest_of(0): jid_of(1)}
    store.queues.push_unique([after])
    end(store, DONE, claimed)
    assert look().queues == {"q": [after.raw]}


def test_the_start_of_an_old_copy_changes_nothing_for_a_newer_job(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(2, rerun=True), unique_job(3, rerun=True)])
    before = look()
    for release in (True, False):
        assert not store.locks.start(lock_of(unique_job(1)), release=release)
    assert look() == before


def test_a_renewal_prolongs_a_lock_and_what_is_to_be_run_afterwards(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    job = unique_job(1, rerun=True)
    store.queues.push_unique([job, unique_job(2, rerun=True)])
    for name in (store.keys.unique(digest_of(0)), store.keys.rerun(digest_of(0))):
        raw.pexpire(name, 100_000)
    assert store.locks.renew([lock_of(job)]) == 1
    assert lasts(look()) == pytest.approx(TTL, abs=SLOW)
    assert raw.pttl(store.keys.rerun(digest_of(0))) / 1000 == pytest.approx(TTL, abs=SLOW)


def test_a_renewal_that_comes_late_changes_nothing(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    """The job ended, was put off, was held, or lost its lock since the process looked."""
    jobs = [unique_job(n, n) for n in range(4)]
    store.queues.push_unique(jobs)
    done, retried, held, _lapsed = claim(store, 4)
    raw.delete(store.keys.unique(digest_of(3)))
    store.queues.push_unique([unique_job(9, 3, ttl=50.0)])
    deliver(store, [move_of(DONE, done), move_of(RETRY, retried, delay=7200.0)])
    deliver(store, [move_of(HELD, held)])
    before = look()
    assert store.locks.renew([lock_of(job) for job in jobs]) == 2
    contents = look()
    assert contents.locks == before.locks
    assert contents.locks == {
        digest_of(1): jid_of(1),
        digest_of(2): jid_of(2),
        digest_of(3): jid_of(9),
    }
    assert lasts(contents, 1) == pytest.approx(7200 + TTL, abs=SLOW)
    assert lasts(contents, 2) == -1
    assert lasts(contents, 3) <= 50


def test_any_number_of_locks_is_renewed_and_looked_up(store: Store, raw: redis.Redis) -> None:
    jobs = [unique_job(n, n) for n in range(1250)]
    for start in (0, 1000):
        store.queues.push_unique(jobs[start : start + 1000])
    raw.delete(store.keys.unique(digest_of(7)))
    assert store.locks.renew([lock_of(job) for job in jobs]) == 1249
    owners = store.locks.owners(digest_of(n) for n in range(1300))
    assert owners == {digest_of(n): jid_of(n) for n in range(1250) if n != 7}
    assert store.locks.renew([]) == 0
    assert store.locks.owners([]) == {}


# What is run afterwards ------------------------------------------------------


@pytest.mark.parametrize("verb", ENDS)
def test_a_duplicate_that_came_while_the_job_ran_is_run_once_however_that_ends(
    store: Store, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    again = unique_job(2, rerun=True, ttl=3600.0)
    assert store.queues.push_unique([unique_job(3, rerun=True)]) == {0: jid_of(1)}
    assert store.queues.push_unique([again]) == {0: jid_of(1)}
    end(store, verb, claimed, cooldown=60.0)
    contents = look()
    assert contents.queues == {"q": [again.raw]}
    assert contents.locks == {digest_of(0): jid_of(2)}
    assert lasts(contents) == pytest.approx(3600, abs=SLOW)
    assert contents.reruns == {}
    end(store, DONE, *claim(store, batch="c"))
    assert look().queues == {}
    assert look().locks == {}


@pytest.mark.parametrize("verb", [RETRY, SNOOZE, BACK, HELD])
def test_a_job_that_has_not_ended_is_not_followed_yet(store: Store, look: Look, verb: str) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([unique_job(2, rerun=True)])
    end(store, verb, claimed, delay=60.0)
    assert len(list(look().jobs())) == 1
    assert set(look().reruns) == {digest_of(0)}


def test_a_job_whose_lock_ran_out_is_followed_all_the_same(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([again := unique_job(2, rerun=True)])
    raw.delete(store.keys.unique(digest_of(0)))
    end(store, DONE, claimed)
    assert look().queues == {"q": [again.raw]}
    assert look().locks == {digest_of(0): jid_of(2)}


@pytest.mark.parametrize("verb", ["delete", "kill", "clear", "drop"])
def test_nothing_follows_a_job_that_somebody_removed(store: Store, look: Look, verb: str) -> None:
    job = unique_job(1, at=time.time() - 1, rerun=True)
    store.queues.push_unique([job, unique_job(2, rerun=True)])
    place = Place.sorted_set(store.keys, "schedule")
    match verb:
        case "delete":
            assert store.removal.delete(place, [job.raw]) == 1
        case "kill":
            assert store.removal.kill(place, [job.raw], lambda raw: (raw, 0.0)) == 1
        case "clear":
            assert store.removal.clear(place) == 1
        case _:
            promotion = Promotion(DROP, job.raw, lock=job.lock)
            assert store.sets.promote("schedule", [promotion]) == (1, {})
    contents = look()
    assert (contents.locks, contents.reruns, contents.queues) == ({}, {}, {})


def test_a_recovered_job_that_is_buried_is_followed(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([again := unique_job(2, rerun=True)])
    store.claims.declare_dead(ME)
    store.claims.recover(ME, [move_of(BURY, claimed)])
    assert look().queues == {"q": [again.raw]}
    assert look().locks == {digest_of(0): jid_of(2)}


def test_what_is_run_afterwards_is_opaque(store: Store, look: Look) -> None:
    lock = lock_of(unique_job(2, rerun=True))
    for odd in (b"\xff\x00\n\n", b"", b"[]", b"12345678901234567890"):
        store.queues.push_unique([unique_job(1, rerun=True)])
        (claimed,) = claim(store, batch=f"for {odd!r}")
        store.queues.push_unique([type(unique_job(2))("q", odd, lock=lock)])
        end(store, DONE, claimed)
        assert look().queues == {"q": [odd]}
        store.locks.start(lock, release=True)
        store.removal.clear(Place.queue(store.keys, "q"))


def test_a_queue_of_a_wrong_type_does_not_keep_a_job_from_its_end(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    store.queues.push_unique([unique_job(2, rerun=True)])
    with wrong_type(raw, store.keys.queue("q")):
        assert end(store, DONE, claimed).refused == {}
    contents = look()
    assert (contents.claims, contents.locks) == ({}, {})
    assert set(contents.reruns) == {digest_of(0)}


# Tombstones ------------------------------------------------------------------


@pytest.mark.parametrize("verb", DEATHS)
def test_the_cool_down_of_a_row_doubles_with_each_death_up_to_a_day(
    store: Store, raw: redis.Redis, verb: str
) -> None:
    for death, wait in enumerate((3600, 7200, 14400, 28800, 57600, DAY, DAY), 1):
        store.queues.push_unique([unique_job(death)])
        before = time.time()
        end(store, verb, *claim(store, batch=f"b{death}"), cooldown=3600.0)
        found = store.locks.tombstones([digest_of(0), digest_of(1)])
        assert list(found) == [digest_of(0)]
        assert found[digest_of(0)].deaths == death
        assert found[digest_of(0)].until == pytest.approx(before + wait, abs=SLOW)
        # A row whose job lives for a day after that starts anew.
        left = raw.pttl(store.keys.tombstone(digest_of(0))) / 1000
        assert left == pytest.approx(wait + DAY, abs=SLOW)


def test_after_very_many_deaths_it_is_still_a_day(store: Store, raw: redis.Redis) -> None:
    raw.hset(store.keys.tombstone(digest_of(0)), "deaths", 10_000)
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store), cooldown=0.001)
    found = store.locks.tombstones([digest_of(0)])[digest_of(0)]
    assert found.deaths == 10_001
    assert found.until == pytest.approx(time.time() + DAY, abs=SLOW)


def test_a_success_clears_the_tombstone(store: Store, look: Look) -> None:
    for number, verb in enumerate((BURY, DONE)):
        store.queues.push_unique([unique_job(number)])
        end(store, verb, *claim(store, batch=verb), cooldown=3600.0)
    assert look().tombstones == {}


@pytest.mark.parametrize("verb", [SKIPPED, EXPIRED, DROPPED, RETRY, SNOOZE, BACK, HELD])
def test_what_is_neither_success_nor_death_leaves_the_tombstone(
    store: Store, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store), cooldown=3600.0)
    before = look().tombstones
    store.queues.push_unique([unique_job(2)])
    end(store, verb, *claim(store, batch="c"), delay=60.0, cooldown=3600.0)
    assert look().tombstones == before


@pytest.mark.parametrize("verb", DEATHS)
def test_a_death_without_a_cool_down_leaves_no_tombstone(
    store: Store, look: Look, verb: str
) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, verb, *claim(store))
    assert look().tombstones == {}


def test_the_shortest_cool_down_is_none_of_a_success(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store), cooldown=0.0001)
    assert look().tombstones[digest_of(0)][0] == 1


# Keys of a wrong type --------------------------------------------------------


@pytest.mark.parametrize("verb", [*ENDS, RETRY, SNOOZE, BACK, HELD])
@pytest.mark.parametrize("broken", ["unique", "tombstone", "rerun"])
def test_a_key_of_a_wrong_type_beside_a_job_keeps_it_from_nothing(
    store: Store, raw: redis.Redis, look: Look, verb: str, broken: str
) -> None:
    store.queues.push_unique([unique_job(1, rerun=True)])
    (claimed,) = claim(store)
    key = {
        "unique": store.keys.unique, "tombstone": store.keys.tombstone, "rerun": store.keys.rerun,
    }[broken](digest_of(0))  # fmt: skip
    raw.delete(key)
    raw.xadd(key, {"not": "ours"})
    lock = lock_of(unique_job(1))
    assert store.locks.start(lock, release=False) == (broken != "unique")
    assert store.locks.renew([lock]) == (broken != "unique")
    found = end(store, verb, claimed, delay=60.0, cooldown=60.0)
    assert (found.refused, found.fenced) == ({}, 0)
    contents = look()
    assert contents.claims == {}
    assert len(list(contents.jobs())) == (verb in (BURY, RETRY, SNOOZE, BACK, HELD))
    if broken != "unique":
        assert contents.locks == ({} if verb in ENDS else {digest_of(0): jid_of(1)})
    # A lock that is none is written over with the next job.
    if verb in ENDS or broken == "unique":
        assert store.queues.push_unique([unique_job(2)]) == {}
        assert look().locks == {digest_of(0): jid_of(2)}


# At maxmemory ----------------------------------------------------------------


@pytest.mark.parametrize("flags", [True, False], ids=["flags", "without flags"])
def test_unique_jobs_go_all_their_ways_in_a_full_redis(
    private_redis: Callable[..., RedisServer], flags: bool
) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    store._link._flags = flags
    page = [unique_job(n, n, rerun=True) for n in range(8)]
    due = [unique_job(n, n, at=1.0) for n in range(10, 14)]
    removed = [unique_job(n, n, queue="r") for n in range(20, 24)]
    store.queues.push_unique([*page, *due, *removed])
    claims = claim(store, 8)
    again = [unique_job(100 + n, n, rerun=True) for n in range(8)]
    assert len(store.queues.push_unique(again)) == 8
    with server.client() as client:
        client.config_set("maxmemory", 1)

        assert store.locks.renew([lock_of(job) for job in page]) == 8
        assert store.locks.start(lock_of(page[7]), release=True)
        verbs = (DONE, BURY, RETRY, SNOOZE, HELD, BACK)
        moves = [
            move_of(verb, claimed, delay=60.0, cooldown=60.0)
            for verb, claimed in zip(verbs, claims, strict=False)
        ]
        step = deliver(store, moves)
        assert (step.refused, step.fenced) == ({}, 0)
        store.claims.declare_dead(ME)
        assert store.claims.recover(ME, [move_of(BURY, claims[6], cooldown=60.0)]).moved == 1
        assert store.claims.recover(ME, [move_of(BACK, claims[7])]).moved == 1
        promotions = [
            Promotion(verb, job.raw, b"new %d" % n, "q", 60.0, "C", job.lock)
            for n, (verb, job) in enumerate(zip((PUSH, LATER, HOLD, DROP), due, strict=True))
        ]
        assert store.sets.promote("schedule", promotions) == (4, {})
        assert store.held.allow("C", rate=10.0, ramp=0.0, wanted=1) == 1
        assert store.sets.release("C", [Promotion(PUSH, b"new 2", b"go", "q")]) == (1, {})
        place = Place.queue(store.keys, "r")
        assert store.removal.delete(place, [removed[0].raw]) == 1
        assert store.removal.kill(place, [removed[1].raw], lambda raw: (raw, 60.0)) == 1
        assert store.removal.clear(place) == 2
        assert store.removal.clear(Place.held(store.keys, "C")) == 1
        store.held.forget_empty("C")
        assert store.locks.clear_tombstone(digest_of(6))

        client.config_set("maxmemory", 0)
        contents = Contents.read(client, "")
        assert contents.held_classes == set()
        assert set(contents.tombstones) == {digest_of(1), digest_of(21)}
        assert contents.locks == {
            digest_of(row): jid_of(number)
            for row, number in (
                (0, 100), (1, 101), (2, 2), (3, 3), (5, 5), (6, 106), (7, 7),
                (10, 10), (11, 11), (12, 12),
            )
        }  # fmt: skip
    store.close()


def test_locks_of_one_digest_may_end_in_one_step(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    """The lock ran out, so there are two; whichever ends first, nothing is left locked."""
    store.queues.push_unique([unique_job(1)])
    raw.delete(store.keys.unique(digest_of(0)))
    store.queues.push_unique([unique_job(2)])
    old, newer = claim(store, 2)
    deliver(store, [move_of(DONE, newer), move_of(RETRY, old, delay=60.0)])
    assert look().locks == {digest_of(0): jid_of(1)}
