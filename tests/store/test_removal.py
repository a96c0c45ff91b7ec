"""Removal by hand: a job and its lock go together, and Redis is never kept for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import BACK, BURY, DONE, RETRY
from django_jobqueue.store.locks import NEITHER
from django_jobqueue.store.removal import PAGE, Place
from django_jobqueue.store.sets import PUSH, Promotion
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.uniques import (
    ME,
    claim,
    digest_of,
    end,
    jid_of,
    move_of,
    plain_job,
    unique_job,
)
from tests.support.server import RedisServer

logger = logging.getLogger(__name__)

Look = Callable[[], Contents]

#: Seconds by which a time may be off, on a machine that has other things to do.
SLOW = 100.0

PLACES = ("queue", "schedule", "retry", "held")


def place_of(store: Store, name: str) -> Place:
    """Return a place where jobs wait."""
    if name == "queue":
        return Place.queue(store.keys, "q")
    if name == "held":
        return Place.held(store.keys, "C")
    return Place.sorted_set(store.keys, name)


def fill(store: Store, raw: redis.Redis, name: str, count: int = 3) -> list[bytes]:
    """Put unique jobs somewhere; returns their payloads, the next to run first."""
    jobs = [unique_job(n, n) for n in range(count)]
    store.queues.push_unique(jobs)
    if name != "queue":
        raw.delete(store.keys.queue("q"))
        raw.zadd(place_of(store, name).key, {job.raw: n for n, job in enumerate(jobs)})
    return [job.raw for job in jobs]


def dead(raw: bytes) -> tuple[bytes, float]:
    """Return what is written of a job that is killed: a note that it was."""
    return b"dead " + raw, NEITHER


def scripts_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that grows with every removal: jobs looked at, jobs gone."""
    found: list[tuple[int, int]] = []
    store.claims.extend("nobody", 60.0)  # a server without flags is known as such by now
    script = store._link.script

    def noted(name: str, *arguments: Any) -> Any:
        reply = script(name, *arguments)
        if name == "remove":
            found.append((reply[0], reply[1]))
        return reply

    monkeypatch.setattr(store._link, "script", noted)
    return found


# Delete and kill -------------------------------------------------------------


@pytest.mark.parametrize("name", PLACES)
def test_a_deleted_job_is_gone_and_may_be_enqueued_at_once(
    store: Store, raw: redis.Redis, look: Look, name: str
) -> None:
    jobs = fill(store, raw, name)
    assert store.removal.delete(place_of(store, name), [jobs[1], b"not there"]) == 1
    contents = look()
    assert contents.payloads() == [jobs[0], jobs[2]]
    assert contents.locks == {digest_of(n): jid_of(n) for n in (0, 2)}
    assert store.queues.push_unique([unique_job(9, 1)]) == {}
    # Sent again, it touches neither the new job nor its lock.
    assert store.removal.delete(place_of(store, name), [jobs[1]]) == 0
    assert look().locks[digest_of(1)] == jid_of(9)


@pytest.mark.parametrize("name", PLACES)
def test_a_killed_job_is_dead_and_may_be_enqueued_at_once(
    store: Store, raw: redis.Redis, look: Look, name: str
) -> None:
    jobs = fill(store, raw, name)
    place = place_of(store, name)
    assert store.removal.kill(place, [b"not there", jobs[1]], dead) == 1
    contents = look()
    assert contents.payloads() == sorted([jobs[0], b"dead " + jobs[1], jobs[2]])
    assert contents.sets["dead"][b"dead " + jobs[1]] == pytest.approx(time.time(), abs=SLOW)
    assert contents.locks == {digest_of(n): jid_of(n) for n in (0, 2)}
    assert contents.tombstones == {}
    assert store.removal.kill(place, [jobs[1]], dead) == 0
    assert store.queues.push_unique([unique_job(9, 1)]) == {}
    assert len(look().sets["dead"]) == 1


def test_a_killed_job_may_leave_its_row_to_cool_down(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    jobs = fill(store, raw, "queue")
    place = place_of(store, "queue")
    cool = {jobs[0]: 60.0, jobs[1]: 0.0, jobs[2]: NEITHER}
    assert store.removal.kill(place, jobs, lambda raw: (raw, cool[raw])) == 3
    contents = look()
    assert [(digest, deaths) for digest, (deaths, _) in contents.tombstones.items()] == [
        (digest_of(0), 1)
    ]
    healed = store.queues.push_unique([unique_job(9 + n, n) for n in range(3)], healing=True)
    assert healed == {0: ""}


def test_a_deletion_leaves_the_tombstone_and_the_lock_of_a_newer_job(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store), cooldown=3600.0)
    tombstones = look().tombstones
    old, newer = unique_job(2), unique_job(3, queue="other")
    store.queues.push_unique([old])
    raw.delete(store.keys.unique(digest_of(0)))
    store.queues.push_unique([newer])
    place = Place.queue(store.keys, "q")
    assert store.removal.delete(place, [old.raw]) == 1
    assert look().locks == {digest_of(0): jid_of(3)}
    assert look().tombstones == tombstones


def test_a_dead_job_is_deleted_and_cannot_be_killed(store: Store, look: Look) -> None:
    store.queues.push_unique([unique_job(1)])
    end(store, BURY, *claim(store))
    store.queues.push_unique([newer := unique_job(2)])
    place = Place.sorted_set(store.keys, "dead")
    (entry,) = look().sets["dead"]
    assert store.removal.kill(place, [entry], lambda raw: (raw, NEITHER)) == 0
    assert set(look().sets["dead"]) == {entry}
    assert store.removal.delete(place, [entry]) == 1
    assert look().payloads() == [newer.raw]
    assert look().locks == {digest_of(0): jid_of(2)}


@pytest.mark.parametrize("kills", [False, True], ids=["delete", "kill"])
def test_a_job_that_somebody_moved_meanwhile_is_left_alone_with_its_lock(
    store: Store, look: Look, kills: bool
) -> None:
    def remove(place: Place, raw: bytes) -> int:
        if kills:
            return store.removal.kill(place, [raw], dead)
        return store.removal.delete(place, [raw])

    job = unique_job(1)
    store.queues.push_unique([job])
    queue, retry = place_of(store, "queue"), place_of(store, "retry")
    (claimed,) = claim(store)
    assert remove(queue, job.raw) == 0
    end(store, RETRY, claimed)
    assert remove(queue, job.raw) == 0
    store.sets.promote("retry", [Promotion(PUSH, job.raw, job.raw, "other", lock=job.lock)])
    assert remove(retry, job.raw) == 0
    contents = look()
    assert list(contents.jobs()) == [("queue other", job.raw)]
    assert contents.locks == {digest_of(0): jid_of(1)}


def test_of_equal_payloads_one_is_removed_for_each_that_is_named(store: Store, look: Look) -> None:
    store.queues.push({"q": [b"same", b"1", b"same", b"2", b"same"]})
    place = place_of(store, "queue")
    assert store.removal.delete(place, [b"same"]) == 1
    assert store.queues.page("q") == [b"1", b"same", b"2", b"same"]
    assert store.removal.kill(place, [b"same"] * 3, dead) == 2
    assert look().queues == {"q": [b"2", b"1"]}
    assert set(look().sets["dead"]) == {b"dead same"}


@pytest.mark.parametrize("odd", [b"", b"\xff\x00", b"[]", b"12345678901234567890"])
@pytest.mark.parametrize("name", PLACES)
def test_bytes_that_are_no_job_stay_or_go_as_any_other(
    store: Store, raw: redis.Redis, look: Look, name: str, odd: bytes
) -> None:
    place = place_of(store, name)
    others = [unique_job(1).raw, b"other"]
    if place.is_list:
        store.queues.push({"q": [*others, odd]})
    else:
        raw.zadd(place.key, dict.fromkeys([*others, odd], 1))
    assert store.removal.delete(place, others) == 2
    assert look().payloads() == [odd]
    assert store.removal.kill(place, [odd], dead) == 1
    assert look().payloads() == [b"dead " + odd]


def test_the_dead_set_keeps_its_bounds(redis_server: RedisServer, key_prefix: str) -> None:
    store = Store(redis_server.url, prefix=key_prefix, dead_entries=3, dead_age=3600.0)
    with redis_server.client() as client:
        client.zadd(store.keys.dead, {b"old": time.time() - 7200, b"young": time.time() - 60})
        store.queues.push({"q": [b"%d" % n for n in range(2)]})
        store.removal.kill(place_of(store, "queue"), [b"0", b"1"], dead)
        assert set(client.zrange(store.keys.dead, 0, -1)) == {b"young", b"dead 0", b"dead 1"}
        store.queues.push({"q": [b"2"]})
        assert store.removal.kill(place_of(store, "queue"), [b"2"], dead) == 1
        assert client.zcard(store.keys.dead) == 3
        assert client.zscore(store.keys.dead, b"young") is None
    store.close()


def test_jobs_of_a_running_process_are_not_in_any_place(store: Store, look: Look) -> None:
    job = unique_job(1)
    store.queues.push_unique([job])
    (claimed,) = claim(store)
    for name in PLACES:
        assert store.removal.clear(place_of(store, name)) == 0
    assert look().locks == {digest_of(0): jid_of(1)}
    # Killed while it runs: the same jid starts again, and is locked until it ends.
    store.claims.declare_dead(ME)
    store.claims.recover(ME, [move_of(BACK, claimed)])
    assert store.queues.push_unique([unique_job(2)]) == {0: jid_of(1)}
    end(store, DONE, *claim(store, batch="c"))
    assert store.queues.push_unique([unique_job(3)]) == {}


# Keys of a wrong type --------------------------------------------------------


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kills", [False, True], ids=["delete", "kill"])
def test_a_place_of_a_wrong_type_stops_the_removal_before_it_wrote(
    store: Store, raw: redis.Redis, look: Look, name: str, kills: bool
) -> None:
    jobs = fill(store, raw, name)
    place, before = place_of(store, name), look()
    remove = partial(store.removal.kill, bury=dead) if kills else store.removal.delete
    with wrong_type(raw, place.key), pytest.raises(StoreRefused, match="WRONGTYPE"):
        remove(place, jobs)
    assert look() == before


@pytest.mark.parametrize("name", PLACES)
def test_a_dead_set_of_a_wrong_type_stops_a_kill_and_no_deletion(
    store: Store, raw: redis.Redis, look: Look, name: str
) -> None:
    jobs = fill(store, raw, name)
    place, before = place_of(store, name), look()
    with wrong_type(raw, store.keys.dead):
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            store.removal.kill(place, jobs, dead)
        assert store.removal.page(place, 10) == before.payloads()
        assert store.removal.delete(place, jobs) == 3


# Clear, and long places ------------------------------------------------------


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_cleared_of_all_that_stood_there(
    store: Store, raw: redis.Redis, look: Look, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, raw, name, 250)
    place = place_of(store, name)
    assert store.removal.size(place) == 250
    scripts = scripts_of(store, monkeypatch)
    assert store.removal.clear(place) == 250
    assert scripts == [(100, 100), (100, 100), (50, 50)]
    contents = look()
    assert (list(contents.jobs()), contents.locks) == ([], {})
    assert store.removal.clear(place) == 0


def test_what_is_pushed_while_a_queue_is_cleared_stays(
    store: Store, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.queues.push_unique([unique_job(n, n) for n in range(250)])
    page = store.removal.page
    pushed = iter([unique_job(1000 + n, 1000 + n) for n in range(10)])

    def page_after_a_push(place: Place, count: int) -> list[bytes]:
        store.queues.push_unique([next(pushed)])
        return page(place, count)

    monkeypatch.setattr(store.removal, "page", page_after_a_push)
    assert store.removal.clear(place_of(store, "queue")) == 250
    assert look().locks == {digest_of(1000 + n): jid_of(1000 + n) for n in range(3)}
    assert len(look().queues["q"]) == 3


def test_what_a_worker_takes_while_a_queue_is_cleared_is_left_to_it(
    store: Store, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.queues.push_unique([unique_job(n, n) for n in range(150)])
    page = store.removal.page
    batches = iter("abcdef")

    def page_before_a_claim(place: Place, count: int) -> list[bytes]:
        found = page(place, count)
        claim(store, 5, next(batches))
        return found

    monkeypatch.setattr(store.removal, "page", page_before_a_claim)
    assert store.removal.clear(place_of(store, "queue")) == 140
    contents = look()
    assert len(contents.claims[ME]) == len(contents.locks) == 10
    assert contents.queues == {}


def test_a_hundred_thousand_unique_jobs_are_cleared_and_none_stays_locked(
    private_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = private_redis(appendonly="no", slowlog_log_slower_than=0, slowlog_max_len=5000)
    store = Store(server.socket_url, timeout=30.0)
    count, size = 100_000, 1000
    for start in range(0, count, size):
        store.queues.push_unique([unique_job(n, n) for n in range(start, start + size)])
    with server.client() as client:
        assert client.llen(store.keys.queue("q")) == count
        assert client.dbsize() == count + 2
        client.slowlog_reset()
        scripts = scripts_of(store, monkeypatch)
        assert store.removal.clear(place_of(store, "queue")) == count
        assert max(looked_at for looked_at, _ in scripts) == PAGE
        assert client.keys() == [store.keys.queues.encode()]
        logger.info("clear of %d: %d scripts, %s", count, len(scripts), _slowest(client))
    assert store.queues.push_unique([unique_job(1, 1)]) == {}
    store.close()


def test_jobs_deep_in_a_long_queue_are_searched_for_once_a_page(
    private_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = private_redis(appendonly="no", slowlog_log_slower_than=0, slowlog_max_len=5000)
    store = Store(server.socket_url, timeout=30.0)
    filling = [plain_job(n).raw for n in range(50_000)]
    deep = [unique_job(n, n) for n in range(PAGE)]
    for start in range(0, 50_000, 500):
        store.queues.push({"q": filling[start : start + 500]})
    store.queues.push_unique(deep)
    with server.client() as client:
        client.slowlog_reset()
        scripts = scripts_of(store, monkeypatch)
        place, entries = place_of(store, "queue"), [job.raw for job in deep]
        assert store.removal.delete(place, entries[:50]) == 50
        assert store.removal.kill(place, entries[50:], dead) == 50
        assert sum(looked_at for looked_at, _ in scripts) == PAGE
        # They stand together.
        assert scripts == [(50, 50), (50, 50)]
        assert client.llen(store.keys.queue("q")) == 50_000
        assert client.zcard(store.keys.dead) == 50
        # A search in vain costs as much.
        scripts.clear()
        assert store.removal.delete(place, entries) == 0
        assert max(looked_at for looked_at, _ in scripts) == 2
        logger.info("%d searches in vain: %s", PAGE, _slowest(client))
        # At the end that runs next nothing has to be searched.
        scripts.clear()
        assert store.removal.delete(place, filling[:PAGE]) == PAGE
        assert scripts == [(PAGE, PAGE)]
    store.close()


def test_jobs_that_stand_far_apart_are_removed_a_few_at_a_time(
    store: Store, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [b"%d" % n for n in range(250)]
    store.queues.push({"q": jobs})
    place = place_of(store, "queue")
    # From one end to the other and back, past the window around each.
    wanted = [jobs[at] for at in (0, 249, 1, 248, 120, 120, 5)] + [b"not there"]
    assert store.removal.delete(place, wanted) == 6
    left = [job for job in jobs if job not in wanted]
    assert store.queues.page("q", 0, 250) == left
    assert store.removal.kill(place, [jobs[7], *left[-1:-30:-1], jobs[8]], dead) == 31
    assert len(look().queues["q"]) == 250 - 6 - 31


@pytest.mark.parametrize("from_the_left", [False, True])
@pytest.mark.parametrize("by", [-3_000, -150, -40, 0, 40, 150, 3_000, 20_000])
def test_jobs_are_found_again_where_they_were_or_near(
    store: Store, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, by: int, from_the_left: bool
) -> None:
    jobs = [b"%d" % n for n in range(40_000)]
    for start in range(0, len(jobs), 5_000):
        store.queues.push({"q": jobs[start : start + 5_000]})
    scripts = scripts_of(store, monkeypatch)
    wanted = jobs[35_000:35_100:3]
    offset = len(jobs) if from_the_left else 0
    indexes = [offset - 1 - n - by for n in range(35_000, 35_100, 3)]
    removed = store.removal.delete(place_of(store, "queue"), wanted, indexes)
    # Nobody reads through all of a long list for a page that may well be gone.
    assert removed == (len(wanted) if abs(by) < 10_000 else 0)
    assert len(scripts) <= 2
    assert raw.llen(store.keys.queue("q")) == len(jobs) - removed
    left = set(store.queues.page("q", 0, 40_000))
    assert not left & set(wanted) if removed else left.issuperset(wanted)


def test_what_is_gone_from_where_it_was_takes_nothing_else_with_it(
    store: Store, look: Look
) -> None:
    store.queues.push_unique([unique_job(n, n) for n in range(50)])
    place = place_of(store, "queue")
    gone = [unique_job(n, n).raw for n in range(100, 140)]
    assert store.removal.kill(place, gone, dead, range(-1, -41, -1)) == 0
    assert store.removal.delete(place, [b"", *gone], [None, *range(40)]) == 0
    # Indexes that there are not.
    assert store.removal.delete(place, gone[:2], [-(10**9), 10**9]) == 0
    contents = look()
    assert (len(contents.queues["q"]), len(contents.locks)) == (50, 50)
    wanted = [unique_job(n, n).raw for n in (49, 0)]
    assert store.removal.delete(place, wanted, [10**9, -(10**9)]) == 2
    assert store.removal.delete(Place.queue(store.keys, "none"), wanted, [-1, 0]) == 0


def test_large_entries_around_a_job_are_not_all_read(store: Store, raw: redis.Redis) -> None:
    jobs = [b"%03d" % n + b"x" * 100_000 for n in range(120)]
    for job in jobs:
        store.queues.push({"q": [job]})
    place = place_of(store, "queue")
    read_before = int(raw.info("stats")["total_net_output_bytes"])
    # A few may have left meanwhile, and many: then it is looked for near by.
    assert store.removal.delete(place, [jobs[60], jobs[62]], [-64, -66]) == 2
    assert store.removal.delete(place, [jobs[80]], [-119]) == 1
    assert raw.llen(place.key) == 117
    assert int(raw.info("stats")["total_net_output_bytes"]) - read_before < 20_000_000


def test_of_equal_payloads_as_many_go_as_are_told_where_they_were(store: Store) -> None:
    store.queues.push({"q": [b"same", b"1", b"same", b"2", b"same"]})
    place = place_of(store, "queue")
    assert store.removal.delete(place, [b"same", b"same"], [-1, -3]) == 2
    assert sorted(store.queues.page("q")) == [b"1", b"2", b"same"]
    assert store.removal.delete(place, [b"same"] * 3, [-1, -2, -3]) == 1
    assert store.queues.page("q") == [b"1", b"2"]


def test_pages_have_what_runs_next_first(store: Store, raw: redis.Redis) -> None:
    store.queues.push({"q": [b"1", b"2", b"3"]})
    raw.zadd(store.keys.retry, {b"late": 3, b"early": 1, b"middle": 2})
    assert store.removal.page(place_of(store, "queue"), 2) == [b"1", b"2"]
    assert store.removal.page(place_of(store, "retry"), 2) == [b"early", b"middle"]
    assert store.removal.page(place_of(store, "held"), 2) == []


def _slowest(client: redis.Redis) -> str:
    """Return what took Redis longest, for people: a busy machine may take any time."""
    slowest = max(entry["duration"] for entry in client.slowlog_get(5000))
    return f"the slowest {slowest / 1000:.1f} ms"
