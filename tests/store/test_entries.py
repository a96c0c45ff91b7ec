"""The entries of a set, one after another, whatever leaves or moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue.store.entries import Scored
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store


@pytest.fixture
def dead(store: Store) -> Place:
    return Place.sorted_set(store.keys, "dead")


def add(raw: redis.Redis, place: Place, *entries: Scored) -> None:
    raw.zadd(place.key, dict(entries))


def read_on(
    store: Store, place: Place, count: int, between: Callable[[bytes], None]
) -> list[bytes]:
    """Read everything, and do something after each page with its last entry."""
    page = store.entries.page(place, 0, count)
    found = []
    while page:
        found += [member for member, _ in page]
        between(page[-1][0])
        page = store.entries.after(place, page[-1], count)
    return found


def test_pages_are_read_by_rank_from_either_end(
    store: Store, raw: redis.Redis, dead: Place
) -> None:
    add(raw, dead, (b"a", 1.5), (b"b", 2), (b"c", 3))
    assert store.entries.page(dead, 1, 5) == [(b"b", 2.0), (b"c", 3.0)]
    assert store.entries.page(dead, 0, 2, newest_first=True) == [(b"c", 3.0), (b"b", 2.0)]
    assert store.entries.last_score(dead) == 3.0
    assert store.entries.ranks(dead, 2, 3) == (1, 3)
    assert store.entries.ranks(dead, 4, 1) == (3, 3)


def test_some_time_is_read_from_any_place_in_it(
    store: Store, raw: redis.Redis, dead: Place
) -> None:
    add(raw, dead, *((b"%d" % n, n) for n in range(10)))
    assert store.entries.range(dead, 2, 7.5, 0, 2) == [(b"2", 2.0), (b"3", 3.0)]
    assert store.entries.range(dead, 2, 7.5, 4, 5) == [(b"6", 6.0), (b"7", 7.0)]
    assert store.entries.range(dead, float("-inf"), float("inf"), 9, 5) == [(b"9", 9.0)]
    assert store.entries.range(dead, 2, 7.5, 6, 5) == []
    assert store.entries.windows(dead, [(1, 2), (8, 5)]) == [
        (b"1", 1.0), (b"2", 2.0), (b"8", 8.0), (b"9", 9.0),
    ]  # fmt: skip


def test_an_empty_set_has_nothing(store: Store, dead: Place) -> None:
    assert store.entries.page(dead, 0, 5) == []
    assert store.entries.last_score(dead) is None
    assert store.entries.after(dead, (b"a", 1.0), 5) == []
    assert store.entries.scan(dead, 0, None, 10) == (0, [])


@pytest.mark.parametrize("scores", [[7.0] * 25, [float(n // 5) for n in range(25)]])
def test_nobody_is_passed_over_while_entries_leave(
    store: Store, raw: redis.Redis, dead: Place, scores: list[float]
) -> None:
    entries = [(b"%02d" % n, score) for n, score in enumerate(scores)]
    names = [name for name, _ in entries]

    def nothing(last: bytes) -> None:
        pass

    def remove_last(last: bytes) -> None:
        raw.zrem(dead.key, last)

    def remove_all_read(last: bytes) -> None:
        rank = raw.zrank(dead.key, last)
        assert isinstance(rank, int)
        raw.zremrangebyrank(dead.key, 0, rank)

    def put_off_last(last: bytes) -> None:
        raw.zadd(dead.key, {last: 1e9})

    for between in (nothing, remove_last, remove_all_read):
        add(raw, dead, *entries)
        assert read_on(store, dead, 4, between) == names
        raw.delete(dead.key)
    add(raw, dead, *entries)
    # Those that were put off come again, behind all others.
    assert read_on(store, dead, 25, put_off_last)[:25] == names


def test_many_with_one_score_are_not_read_again_for_each_page(
    store: Store, raw: redis.Redis, dead: Place
) -> None:
    entries = [(b"%04d" % n, 7.0) for n in range(1000)]
    add(raw, dead, *entries)
    last = entries[899]
    raw.zrem(dead.key, last[0])
    before = commands(raw)
    assert store.entries.after(dead, last, 10) == entries[900:910]
    assert commands(raw) - before < 25


def commands(raw: redis.Redis) -> int:
    """Return how many entries of commands on sets the server has run."""
    stats = raw.info("commandstats")
    return sum(
        stats.get(f"cmdstat_{name}", {}).get("calls", 0)
        for name in ("zrange", "zrangebyscore", "zcount")
    )


@pytest.mark.parametrize("gone", [0, 1, 450, 899])
def test_who_leaves_during_the_search_makes_it_pass_over_none(
    store: Store, raw: redis.Redis, dead: Place, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(b"%04d" % n, 7.0) for n in range(1000)]
    add(raw, dead, *entries)
    last = entries[899]
    raw.zrem(dead.key, last[0])
    search = store.entries._rank_behind

    def search_then_some_leave(place: Place, last: Scored) -> int:
        found = search(place, last)
        if names:
            raw.zrem(dead.key, *names.pop())
        return found

    names = [[name for name, _ in entries[:gone]]] if gone else []
    monkeypatch.setattr(store.entries, "_rank_behind", search_then_some_leave)
    left = [entry for entry in entries if entry != last][gone:]
    expected = [entry for entry in left if entry > last][:10]
    assert store.entries.after(dead, last, 10) == expected


def test_a_scan_finds_a_text_as_it_is(store: Store, raw: redis.Redis, dead: Place) -> None:
    add(raw, dead, (b"one [*]?", 1), (b"one xx", 2), (b"back\\slash", 3))
    assert store.entries.scan(dead, 0, "[*]?", 100) == (0, [(b"one [*]?", 1.0)])
    assert store.entries.scan(dead, 0, "k\\s", 100) == (0, [(b"back\\slash", 3.0)])
    assert len(store.entries.scan(dead, 0, None, 100)[1]) == 3
