"""The sorted sets from outside: by rank, by time, one after another, searched within a budget."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from django_jobqueue.api import DeadSet, HeldSet, RetrySet, ScheduledSet, SortedSet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery, SearchUnfinished, StoreRefused
from tests.api.samples import NAME, ODD, LookJob, jid_of, owner_of, payload, put, ruby
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.inside import Inside

#: Each set and its key.
SETS: list[tuple[Callable[[], SortedSet[Any]], str]] = [
    (ScheduledSet, "schedule"), (RetrySet, "retry"), (DeadSet, "dead"),
    (lambda: HeldSet(LookJob), f"jq:held:{NAME}"),
]  # fmt: skip

each_set = pytest.mark.parametrize(("make", "key"), SETS, ids=["schedule", "retry", "dead", "held"])


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def args(entries: Any) -> list[int]:
    return [entry.args[0] for entry in entries]


@each_set
def test_a_set_is_paged_iterated_and_searched(
    inside: Inside, make: Callable[[], SortedSet[Any]], key: str
) -> None:
    put(inside, key, *map(payload, range(120)))
    entries = make()
    assert len(entries) == entries.size == 120
    assert args(entries.page(1, 2)) == [1, 2]
    assert args(entries.page(1, 2, newest_first=True)) == [118, 117]
    assert args(entries) == list(range(120))
    found = entries.find(jid_of(7))
    assert found is not None
    assert found.score == 107.0
    assert found.at == datetime(1970, 1, 1, 0, 1, 47, tzinfo=UTC)
    assert entries.find("nobody") is None
    assert entries.clear() == 120


def test_making_one_asks_nobody(count_round_trips: Callable[[], int]) -> None:
    assert [repr(make()) for make, _ in SETS] == [
        "<ScheduledSet>", "<RetrySet>", "<DeadSet>", f"<HeldSet '{NAME}'>",
    ]  # fmt: skip
    assert count_round_trips() == 0


def test_iteration_is_lazy_and_a_page_at_a_time(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    put(inside, "dead", *map(payload, range(250)))
    count_round_trips()
    assert args(islice(DeadSet(), 100)) == list(range(100))
    assert count_round_trips() == 2


def test_nothing_is_passed_over_while_entries_leave(inside: Inside) -> None:
    raws = put(inside, "schedule", *map(payload, range(350)))
    inside.client.zadd(inside.key("schedule"), dict.fromkeys(raws[100:300], 205.0))  # one time
    met = set()
    for entry in ScheduledSet():
        met.add(entry.args[0])
        if entry.args[0] % 3:
            assert entry.delete()
    assert met == set(range(350))
    assert len(ScheduledSet()) == 117


def test_iteration_ends_although_entries_are_put_off(inside: Inside) -> None:
    put(inside, "retry", *map(payload, range(150)))
    met = 0
    for entry in RetrySet():
        met += 1
        assert entry.reschedule(1e9)
    assert met == 150


def test_what_is_put_off_before_the_last_entry_is_met_once(inside: Inside) -> None:
    put(inside, "retry", *map(payload, range(250)))
    put(inside, "retry", payload(999), first=1e12)
    met = []
    for entry in RetrySet():
        met.append(entry.args[0])
        if len(met) > 300:
            break  # and not for ever
        if entry.args[0] != 999:
            assert entry.reschedule(timedelta(minutes=30))
    assert met == [*range(250), 999]


def test_a_range_of_time_is_counted_and_paged(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    put(inside, "dead", *map(payload, range(10)), first=0.0)
    dead = DeadSet()
    count_round_trips()
    assert args(dead.between(2, 6)) == [2, 3, 4, 5, 6]
    assert count_round_trips() == 2
    assert args(dead.between(2, 6, 1, 2)) == [3, 4]
    assert args(dead.between(2, 6, 1, 2, newest_first=True)) == [5, 4]
    assert args(dead.between(2, 6, 4, 100, newest_first=True)) == [2]
    assert args(dead.between(2, 6, 5)) == []
    assert args(dead.between(since=datetime.fromtimestamp(8, UTC))) == [8, 9]
    assert args(dead.between(until=1.5)) == [0, 1]
    assert dead.between(6, 2) == []
    assert (dead.count(), dead.count(3), dead.count(until=3), dead.count(4, 5)) == (10, 7, 4, 2)


def test_an_entry_is_got_by_its_key_and_nothing_is_searched(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    put(inside, "dead", payload(1), payload(2, jid="with-dash"), b"no job", first=-1e-7)
    inside.client.zadd(inside.key("dead"), {payload(3).encode(): 1_700_000_000.123456})
    dead = DeadSet()
    entries = list(dead)
    count_round_trips()
    for entry in entries:
        found = dead.get(entry.key)
        assert found is not None
        assert found.raw == entry.raw
    assert count_round_trips() == 2 * len(entries)
    assert entries[-1].key == f"1700000000.123456-{jid_of(3)}"
    assert dead.get(f"5.0-{jid_of(1)}") is None
    assert dead.get(f"1700000000.123456-{jid_of(9)}") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda dead: dead.page(0, 1001), lambda dead: dead.page(-1), lambda dead: dead.get("x"),
        lambda dead: dead.get("nan-x"), lambda dead: dead.get(7), lambda dead: dead.get("1e5"),
        lambda dead: dead.between("now"), lambda dead: dead.between(0, True),
        lambda dead: dead.between(0, 10**400), lambda dead: dead.between(float("nan")),
        lambda dead: dead.between(count=0), lambda dead: dead.between(start=-1),
        lambda dead: dead.count(until=[]), lambda dead: dead.find("a", budget=float("nan")),
        lambda dead: HeldSet(""), lambda dead: HeldSet(dead),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_value(call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidQuery, match=r"^\w+=.* is not possible: "):
        call(DeadSet())


def test_a_search_that_has_spent_its_budget_says_so_and_goes_on(inside: Inside) -> None:
    put(inside, "dead", *map(payload, range(5000)))
    with pytest.raises(SearchUnfinished, match="go on with cursor=") as caught:
        DeadSet().find("nobody", budget=0)
    cursor: int | None = caught.value.cursor
    steps, met = 0, set()
    while cursor is not None:
        found = DeadSet().scan(NAME, budget=0, cursor=cursor, limit=None)
        met |= set(args(found.entries))
        cursor, steps = found.cursor, steps + 1
    assert steps > 2
    assert len(met) > 2500
    assert DeadSet().find("nobody", budget=None) is None


def test_odd_texts_are_searched_for_as_they_are(inside: Inside) -> None:
    put(inside, "dead", payload(1, jid='a"*\u00e9'), payload(2, tags=["[*]"]))
    found = DeadSet().find('a"*\u00e9')
    assert found is not None
    assert args([found]) == [1]
    assert args(DeadSet().scan("[*]").entries) == [2]
    assert DeadSet().scan("?").entries == []


@each_set
def test_bytes_that_are_no_job_are_shown_and_deleted(
    inside: Inside, make: Callable[[], SortedSet[Any]], key: str
) -> None:
    put(inside, key, *ODD, ruby())
    entries = list(make())
    assert [entry.raw for entry in entries[:-1]] == ODD
    assert [entry.is_valid for entry in entries] == [False] * len(ODD) + [True]
    assert all(repr(entry).isprintable() for entry in entries)
    assert all(entry.delete() for entry in entries)
    assert not any(entry.delete() for entry in entries)


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 1e300, -1e300])
def test_a_time_that_no_calendar_has_is_none(inside: Inside, score: float) -> None:
    inside.put("dead", payload(1).encode(), score)
    (entry,) = DeadSet()
    assert (entry.score, entry.at) == (score, None)
    assert repr(entry)
    assert DeadSet().get(entry.key) is not None


def test_held_sets_are_those_of_all_classes(inside: Inside) -> None:
    inside.client.sadd(inside.key("jq:held"), NAME, "Ruby::Job", "Empty")
    put(inside, f"jq:held:{NAME}", payload(1))
    put(inside, "jq:held:Ruby::Job", ruby(), payload(2))
    assert [(held.job_class, len(held)) for held in HeldSet.all()] == [
        ("Ruby::Job", 2), (NAME, 1),
    ]  # fmt: skip


def test_a_set_of_a_wrong_type_is_told(inside: Inside) -> None:
    with wrong_type(inside.client, inside.key("dead")), pytest.raises(StoreRefused):
        list(DeadSet())


def test_a_place_is_cleared_with_its_locks(inside: Inside) -> None:
    jobs = [payload(n, once=True) for n in range(3)]
    put(inside, "schedule", *jobs)
    assert [owner_of(job) for job in jobs] == [job.jid for job in jobs]
    assert ScheduledSet().clear() == 3
    assert [owner_of(job) for job in jobs] == [None] * 3
    assert store().removal.size(ScheduledSet()._place) == 0
