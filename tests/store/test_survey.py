"""Everything that waits or runs is met, also what moves on while it is being read."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobqueue.store import survey as room
from django_jobqueue.store.store import Store
from tests.support.inside import Inside


def put(inside: Inside, store: Store, queue: str, *jobs: bytes) -> None:
    inside.client.sadd(store.keys.queues, queue)
    inside.client.lpush(store.keys.queue(queue), *jobs)


def met(store: Store, job_class: str = "A") -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for place, page in store.survey.jobs(job_class):
        found.setdefault(place, set()).update(page)
    return found


def test_every_place_is_read_and_of_the_held_only_one_class(inside: Inside, store: Store) -> None:
    keys = store.keys
    put(inside, store, "a", b"1", b"2")
    put(inside, store, "b", b"3")
    inside.client.zadd(keys.schedule, {b"4": 1})
    inside.client.zadd(keys.retry, {b"5": 1})
    inside.client.zadd(keys.dead, {b"6": 1})
    inside.client.zadd(keys.held("A"), {b"7": 1})
    inside.client.zadd(keys.held("B"), {b"8": 1})
    inside.client.hset(keys.claims("host:1:aa"), "x:1:a", b"9")
    inside.client.hset(keys.claims("host:2:bb"), "y:1:a", b"10")
    assert met(store) == {
        "queue": {b"1", b"2", b"3"},
        "schedule": {b"4"},
        "retry": {b"5"},
        "held": {b"7"},
        "claimed": {b"9", b"10"},
    }


def test_places_are_told_by_their_names_and_claims_with_a_lease_first(
    inside: Inside, store: Store
) -> None:
    keys = store.keys
    put(inside, store, "a", b"1")
    inside.client.zadd(keys.schedule, {b"2": 1})
    inside.client.zadd(keys.held("B"), {b"3": 1})
    inside.client.sadd(keys.held_classes, "B")
    inside.client.hset(keys.claims("host:1:aa"), "x:1:a", b"4")
    inside.client.zadd(keys.leases, {"host:1:aa": 1e15, "idle:1:aa": 1e15})
    inside.client.hset(keys.claims("host:2:bb"), "x:1:a", b"5")
    met = [(place, raw) for place, pages in store.survey.places() for page in pages for raw in page]
    first, *others = met
    assert first == ("process:host:1:aa", b"4")
    assert sorted(others) == [
        ("held:B", b"3"), ("process:host:1:aa", b"4"), ("process:host:2:bb", b"5"),
        ("queue:a", b"1"), ("schedule", b"2"),
    ]  # fmt: skip


def test_nothing_is_met_where_nothing_is(store: Store) -> None:
    assert met(store) == {}


def test_more_than_a_page_is_read(
    inside: Inside, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE", 10)
    jobs = {b"%d" % number for number in range(1005)}
    put(inside, store, "a", *jobs)
    inside.client.zadd(store.keys.retry, dict.fromkeys(jobs, 1))
    assert met(store) == {"queue": jobs, "retry": jobs}


def test_what_is_pushed_and_claimed_meanwhile_hides_nothing(
    inside: Inside, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE", 10)
    keys = store.keys
    jobs = {b"%d" % number for number in range(100)}
    put(inside, store, "a", *jobs)
    seen: set[bytes] = set()
    for number, (_, page) in enumerate(store.survey.jobs("A")):
        seen.update(page)
        if number < 5:
            # A worker takes some at one end, a client adds some at the other.
            for raw in inside.client.rpop(keys.queue("a"), 7):
                inside.client.hset(keys.claims("host:1:aa"), raw, raw)
            put(inside, store, "a", b"new %d" % number)
    assert jobs <= seen


def test_what_is_promoted_meanwhile_hides_no_others(
    inside: Inside, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE", 10)
    keys = store.keys
    jobs = {b"%d" % number: number for number in range(500)}
    inside.client.zadd(keys.schedule, jobs)
    seen: set[bytes] = set()
    for _, page in store.survey.jobs("A"):
        seen.update(page)
        due: Any = inside.client.zpopmin(keys.schedule, 9)
        if due:
            put(inside, store, "a", *[raw for raw, _ in due])
    assert set(jobs) <= seen
