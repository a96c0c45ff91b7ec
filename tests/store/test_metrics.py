"""The counts of each class, as Sidekiq lays them out and reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis

from django_jobqueue.exceptions import StoreFull, StoreRefused, StoreUnavailable
from django_jobqueue.store.metrics import (
    BUCKETS,
    LIMITS,
    MINUTE,
    PIECE,
    TEN_MINUTES,
    Counts,
    Sums,
    together,
)
from django_jobqueue.store.store import Store
from tests.support.clocks import FrozenClock, freeze
from tests.support.server import RedisServer

#: 2027-02-05 08:07:30 UTC: with figures that Sidekiq writes with one digit, and with two.
NOW = datetime(2027, 2, 5, 8, 7, 30, tzinfo=UTC).timestamp()
MINUTE_OF_NOW = NOW - 30


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """It is seven minutes and a half past eight."""
    frozen = freeze(monkeypatch)
    frozen.now = NOW
    return frozen


def counts(failed: int = 0, ms: int = 0, **buckets: int) -> Counts:
    """Return counts with ``b3=7`` for seven in the third bucket, from 0."""
    histogram = [0] * BUCKETS
    for name, number in buckets.items():
        histogram[int(name[1:])] = number
    return Counts(failed, ms, tuple(histogram))


def names(store: Store, raw: redis.Redis) -> set[str]:
    prefix = store.keys.prefix
    return {name.decode().removeprefix(prefix) for name in raw.scan_iter(match=f"{prefix}*")}


def as_sidekiq_fetches(raw: redis.Redis, key: str) -> list[int]:
    """Return what Sidekiq's ``Histogram#fetch`` asks for."""
    words = [word for n in range(BUCKETS) for word in ("GET", "u16", f"#{n}")]
    found: list[int] = raw.execute_command("BITFIELD_RO", key, *words)
    return found


def test_the_buckets_are_sidekiqs() -> None:
    assert BUCKETS == 26
    assert [LIMITS[0], LIMITS[10], LIMITS[24]] == [20, 1100, 335_000]
    assert list(LIMITS) == sorted(LIMITS)


def test_counts_stand_under_the_keys_and_fields_that_sidekiq_reads(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    store.metrics.add({"shop.jobs.Send": counts(failed=2, ms=1234, b0=3, b25=1)})
    assert names(store, raw) == {"j|270205|8:07", "j|270205|8:0", "h|shop.jobs.Send-5-8:7"}
    for window in ("270205|8:07", "270205|8:0"):
        assert raw.hgetall(store.keys.executions(window)) == {
            b"shop.jobs.Send|p": b"6",
            b"shop.jobs.Send|f": b"2",
            b"shop.jobs.Send|ms": b"1234",
        }


def test_a_histogram_decodes_as_sidekiq_fetches_it(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    store.metrics.add({"A": counts(b0=3, b7=500, b25=1)})
    expected = [0] * BUCKETS
    expected[0], expected[7], expected[25] = 3, 500, 1
    assert as_sidekiq_fetches(raw, store.keys.histogram("A", "5-8:7")) == expected


def test_a_full_number_of_a_histogram_stays_full(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    for _ in range(2):
        store.metrics.add({"A": counts(b1=65_530, b2=70_000, b3=1)})
    found = as_sidekiq_fetches(raw, store.keys.histogram("A", "5-8:7"))
    assert found[:5] == [0, 65_535, 65_535, 2, 0]
    assert store.metrics.read_class("A", [MINUTE_OF_NOW], MINUTE)[0][0][1] == tuple(found)


def test_minutes_are_kept_for_eight_hours_and_tens_for_three_days(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    store.metrics.add({"A": counts(b0=1)})
    keys = store.keys
    left = {name: raw.ttl(keys.prefix + name) for name in names(store, raw)}
    eight_hours, three_days = 8 * 3_600, 3 * 86_400
    assert eight_hours - 60 < left["j|270205|8:07"] <= eight_hours
    assert eight_hours - 60 < left["h|A-5-8:7"] <= eight_hours
    assert three_days - 60 < left["j|270205|8:0"] <= three_days


def test_a_class_that_only_failed_has_no_time_and_no_histogram(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    store.metrics.add({"A": counts(failed=2)})
    assert names(store, raw) == {"j|270205|8:07", "j|270205|8:0"}
    fields = raw.hgetall(store.keys.executions("270205|8:07"))
    assert fields == {b"A|p": b"2", b"A|f": b"2"}


def test_what_is_added_is_added_up(store: Store, clock: FrozenClock) -> None:
    for _ in range(2):
        store.metrics.add({"A": counts(failed=1, ms=100, b4=2), "B": counts(ms=5, b0=1)})
    clock.advance(60)
    store.metrics.add({"A": counts(ms=7, b0=1)})
    starts = [MINUTE_OF_NOW, MINUTE_OF_NOW + 60]
    found, _ = store.metrics.read(starts, MINUTE)
    assert found == [{"A": Sums(6, 2, 200), "B": Sums(2, 0, 10)}, {"A": Sums(1, 0, 7)}]
    ten, _ = store.metrics.read([NOW // 600 * 600], TEN_MINUTES)
    assert ten == [{"A": Sums(7, 2, 207), "B": Sums(2, 0, 10)}]
    ((sums, histogram),), _ = store.metrics.read_class("A", [NOW // 600 * 600], TEN_MINUTES)
    assert sums == Sums(7, 2, 207)
    assert histogram == counts(b0=1, b4=4).histogram


def test_nothing_is_written_where_nothing_was_counted(store: Store, raw: redis.Redis) -> None:
    store.metrics.add({})
    assert names(store, raw) == set()


def test_many_classes_are_written_in_pieces(
    store: Store, clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    snapshot = {f"C{n}": counts(ms=n, b0=1) for n in range(2 * PIECE + 1)}
    count_round_trips()
    store.metrics.add(snapshot)
    assert count_round_trips() == 3
    assert snapshot == {}
    (found,), _ = store.metrics.read([MINUTE_OF_NOW], MINUTE)
    assert len(found) == 2 * PIECE + 1


def test_a_full_redis_takes_nothing_and_the_snapshot_is_kept(
    private_redis: Callable[..., RedisServer], clock: FrozenClock
) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    snapshot = {"A": counts(failed=1, b0=1)}
    with server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            store.metrics.add(snapshot)
        assert list(snapshot) == ["A"]
        client.config_set("maxmemory", 0)
        assert client.keys("*") == []
    store.metrics.add(snapshot)
    assert snapshot == {}
    assert store.metrics.read([MINUTE_OF_NOW], MINUTE)[0] == [{"A": Sums(2, 1, 0)}]
    store.close()


def test_what_cannot_be_sent_is_kept(clock: FrozenClock) -> None:
    store = Store("redis://127.0.0.1:1/0")
    snapshot = {"A": counts(b0=1)}
    with pytest.raises(StoreUnavailable):
        store.metrics.add(snapshot)
    assert list(snapshot) == ["A"]


def test_a_key_of_a_wrong_type_costs_its_piece_and_is_not_tried_for_ever(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    raw.set(store.keys.histogram("C0", "5-8:7"), "no more than two bytes")
    raw.lpush(store.keys.executions("270205|8:07"), "not a hash")
    snapshot = {f"C{n}": counts(b0=1) for n in range(PIECE + 1)}
    with pytest.raises(StoreRefused):
        store.metrics.add(snapshot)
    assert list(snapshot) == [f"C{PIECE}"]


def test_all_is_written_in_utc(
    store: Store, raw: redis.Redis, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now = datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    store.metrics.add({"A": counts(b0=1)})
    assert names(store, raw) == {"j|271231|23:59", "j|271231|23:5", "h|A-31-23:59"}


def test_what_sidekiq_writes_is_read(store: Store, raw: redis.Redis, clock: FrozenClock) -> None:
    raw.hset(
        store.keys.executions("270205|8:07"),
        mapping={"Rails::Job|p": 3, "Rails::Job|f": 1, "Rails::Job|ms": 40},
    )
    key = store.keys.histogram("Rails::Job", "5-8:7")
    raw.execute_command("BITFIELD", key, "OVERFLOW", "SAT", "INCRBY", "u16", "#1", 2)
    found, _ = store.metrics.read([MINUTE_OF_NOW], MINUTE)
    assert found == [{"Rails::Job": Sums(3, 1, 40)}]
    of_class, _ = store.metrics.read_class("Rails::Job", [MINUTE_OF_NOW], MINUTE)
    assert of_class == [(Sums(3, 1, 40), counts(b1=2).histogram)]


@pytest.mark.parametrize("field", ["p", "|p", "A|x", "A", "f"])
def test_a_field_that_is_no_count_of_a_class_is_passed_over(
    store: Store, raw: redis.Redis, clock: FrozenClock, field: str
) -> None:
    raw.hset(store.keys.executions("270205|8:07"), mapping={field: 3, "B|p": "no number"})
    assert store.metrics.read([MINUTE_OF_NOW], MINUTE)[0] == [{"B": Sums()}]


def test_histograms_are_asked_for_only_while_they_are_kept(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    long_ago = (NOW - 9 * 3_600) // 600 * 600
    found, _ = store.metrics.read_class("A", [long_ago, NOW // 600 * 600], TEN_MINUTES)
    assert [histogram for _, histogram in found] == [None, (0,) * BUCKETS]


# Deploys ----------------------------------------------------------------------


def test_a_deploy_is_marked_as_sidekiq_marks_it(
    store: Store, raw: redis.Redis, clock: FrozenClock
) -> None:
    assert store.metrics.mark("v1.2", NOW)
    key = store.keys.marks("20270205")
    assert key == f"{store.keys.prefix}20270205-marks"
    assert raw.hgetall(key) == {b"2027-02-05T08:07:00Z": b"v1.2"}
    assert 89 * 86_400 < raw.ttl(key) <= 90 * 86_400
    assert store.metrics.marks("20270205") == {MINUTE_OF_NOW: "v1.2"}


def test_all_processes_of_a_deploy_make_one_mark(store: Store, clock: FrozenClock) -> None:
    made = [store.metrics.mark("v1.2", NOW + after) for after in (0, 10, 45)]
    assert made == [True, False, False]
    assert not store.metrics.mark("v1.3", NOW + 5)  # the minute has its mark
    assert store.metrics.marks("20270205") == {MINUTE_OF_NOW: "v1.2"}


def test_marks_come_with_the_counts_of_every_day_that_is_asked_for(
    store: Store, raw: redis.Redis, clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    yesterday = NOW - 86_400
    store.metrics.mark("v1", yesterday)
    store.metrics.mark("v2", NOW)
    raw.hset(store.keys.marks("20270205"), "no time", "somebody's")
    starts = [NOW // 600 * 600 - 600 * ago for ago in range(144, -1, -1)]
    count_round_trips()
    _, marks = store.metrics.read(starts, TEN_MINUTES)
    assert count_round_trips() == 1
    assert marks == {yesterday - 30: "v1", MINUTE_OF_NOW: "v2"}


# Arithmetic -------------------------------------------------------------------


def test_snapshots_add_up_by_class() -> None:
    one = {"A": counts(failed=1, ms=10, b0=1), "B": counts(b1=1)}
    two = {"A": counts(failed=2, ms=5, b0=1, b3=4)}
    assert together(one, two) == {"A": counts(failed=3, ms=15, b0=2, b3=4), "B": counts(b1=1)}
    assert together() == {}


def test_attempts_are_failures_and_all_that_have_a_time() -> None:
    assert counts(failed=3, b0=2, b25=1).processed == 6
