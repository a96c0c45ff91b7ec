"""Everything at a glance: right, from one moment, in one round trip."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any

import pytest

from django_jobqueue.api import Day, ProcessSet, Slice, Stats
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.store.store import Store
from tests.api.samples import NAME, enqueue, payload, put, ruby
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside
from tests.support.server import RedisServer


@pytest.fixture(autouse=True)
def clock(jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """It is ten seconds after the Ruby client's job was enqueued."""
    jobqueue_settings()
    frozen = freeze(monkeypatch)
    frozen.now = 1_700_000_011.5  # 14 November 2023
    return frozen


def fill(inside: Inside) -> None:
    enqueue(ruby(), payload(1), queue="default")
    enqueue(payload(2), queue="low")
    enqueue(b"no job", queue="odd")
    put(inside, "schedule", *map(payload, range(2)))
    put(inside, "retry", *map(payload, range(3)))
    put(inside, "dead", *map(payload, range(4)))
    put(inside, f"jq:held:{NAME}", *map(payload, range(5)))
    inside.client.sadd(inside.key("jq:held"), NAME, "Empty")
    inside.client.sadd(inside.key("queues"), "empty")
    inside.client.sadd(inside.key("paused"), "low")
    inside.client.set(inside.key("stat:processed"), 12)
    inside.client.set(inside.key("stat:failed"), "nonsense")
    inside.client.hset(inside.key("jq:counters"), "recovered", 2)
    for number, queues in enumerate((["default"], ["empty"])):
        info = json.dumps({"queues": queues})
        store().processes.record(f"h:{number}:0123456789ab", {"info": info, "busy": 2}, {})
    inside.client.sadd(inside.key("processes"), "lost")


def test_everything_is_counted(inside: Inside) -> None:
    fill(inside)
    stats = Stats()
    assert (stats.processed, stats.failed) == (12, 0)
    assert stats.counters == {"processed": 12, "failed": 0, "recovered": 2}
    assert (stats.enqueued, stats.scheduled, stats.retries) == (4, 2, 3)
    assert (stats.dead, stats.held, stats.held_by_class) == (4, 5, {NAME: 5})
    assert list(stats.queues.items()) == [("default", 2), ("low", 1), ("odd", 1), ("empty", 0)]
    assert stats.latencies == {"default": 10.0, "low": 0.0, "odd": 0.0, "empty": 0.0}
    assert stats.default_queue_latency == 10.0
    assert stats.paused == {"low"}
    assert (stats.processes, stats.busy) == (2, 4)
    assert stats.unworked == ["low", "odd"]


def test_a_queue_whose_processes_are_all_quiet_is_worked_by_nobody(inside: Inside) -> None:
    fill(inside)
    facts: dict[str, str | int | float] = {"info": json.dumps({"queues": ["default", "low"]})}
    store().processes.record("h:0:0123456789ab", {**facts, "quiet": "true"}, {})
    assert Stats().unworked == ["default", "low", "odd"]
    store().processes.record("h:1:0123456789ab", {**facts, "quiet": "false"}, {})
    assert Stats().unworked == ["odd"]


def test_an_empty_redis_has_nothing() -> None:
    stats = Stats()
    assert (stats.processed, stats.enqueued, stats.held, stats.busy) == (0, 0, 0, 0)
    assert (stats.queues, stats.latencies, stats.unworked) == ({}, {}, [])
    assert stats.default_queue_latency == 0.0


def test_the_glance_is_one_round_trip(inside: Inside, count_round_trips: Callable[[], int]) -> None:
    fill(inside)
    count_round_trips()
    stats = Stats()
    assert count_round_trips() == 0
    assert stats.enqueued == 4
    assert count_round_trips() == 2  # the names were new to this process
    assert (stats.dead, stats.busy, stats.default_queue_latency) == (4, 4, 10.0)
    assert count_round_trips() == 0
    assert Stats().refresh().enqueued == 4
    assert count_round_trips() == 1
    enqueue(payload(9), queue="new")
    count_round_trips()
    assert stats.refresh().queues["new"] == 1
    assert count_round_trips() == 2


def test_what_is_gone_is_not_told(inside: Inside) -> None:
    fill(inside)
    stats = Stats()
    assert stats.processes == 2
    store().processes.forget("h:0:0123456789ab")
    inside.client.srem(inside.key("queues"), "low")
    inside.client.srem(inside.key("jq:held"), NAME)
    stats.refresh()
    assert (stats.processes, stats.held) == (1, 0)
    assert "low" not in stats.queues


def test_what_was_read_stays_until_it_is_read_anew(inside: Inside) -> None:
    stats = Stats()
    before = stats.enqueued
    fill(inside)
    assert (before, stats.enqueued, stats.refresh().enqueued) == (0, 0, 4)


def test_another_redis_is_counted_where_one_is_given(
    redis_server: RedisServer, key_prefix: str
) -> None:
    other = Store(redis_server.url, prefix=f"{key_prefix}other:")
    other.queues.push({"low": [b"1"]})
    assert (Stats(store=other).enqueued, Stats().enqueued) == (1, 0)
    other.close()


def test_days_and_minutes_are_read_in_the_same_round_trip(
    inside: Inside, clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    fill(inside)
    Stats().refresh()
    for day, processed in (("2023-11-14", 3), ("2023-11-13", "x"), ("2023-11-11", 9)):
        inside.client.set(inside.key(f"stat:processed:{day}"), processed)
    inside.client.hset(
        inside.key("j|231114|22:13"),
        mapping={"A|p": 5, "A|f": 1, "A|ms": 1500, "B|p": 2, "B|ms": 500, "B|x": 7, "p": "9"},
    )
    inside.client.hset(inside.key("jq:tally:202311142212"), mapping={"A|refused": 2, "A|x": "?"})
    count_round_trips()
    stats = Stats(days=3, minutes=2)
    assert stats.days == [
        Day(date(2023, 11, 12), 0, 0), Day(date(2023, 11, 13), 0, 0), Day(date(2023, 11, 14), 3, 0),
    ]  # fmt: skip
    assert stats.minutes == [Slice(1_699_999_920.0, 0, 0, 0.0), Slice(1_699_999_980.0, 7, 1, 2.0)]
    assert stats.stopped == {"A": Counter(refused=2)}
    assert (stats.enqueued, stats.dead, stats.processes) == (4, 4, 2)
    assert count_round_trips() == 1
    clock.now += 86_400
    assert stats.refresh().days[-1] == Day(date(2023, 11, 15), 0, 0)
    assert (Stats().days, Stats().minutes, Stats().stopped) == ([], [], {})


def test_processes_are_told_as_the_set_of_them_tells(inside: Inside) -> None:
    info = json.dumps({"queues": ["low"], "concurrency": 5, "hostname": "h"})
    facts: dict[str, Any] = {
        "info": info,
        "busy": 2,
        "beat": 1_700_000_000.5,
        "quiet": "true",
        "rss": 3,
    }
    store().processes.record("h:1:0123456789ab", facts, {})
    inside.client.zadd(inside.key("jq:leases"), {"h:1:0123456789ab": 1e15})
    (process,) = Stats().process_list
    (same,) = ProcessSet()
    for name in ("identity", "hostname", "busy", "concurrency", "beat", "is_quiet", "rss"):
        assert getattr(process, name) == getattr(same, name)
    assert process.lease is not None
    assert process.lease > 0
    assert Stats().concurrency == 5


def test_a_key_of_a_wrong_type_breaks_nothing_else(inside: Inside) -> None:
    fill(inside)
    whole = ["queue:low", "retry", "h:0:0123456789ab", f"jq:held:{NAME}", "jq:leases", "paused",
             "stat:processed", "j|231114|22:13", "jq:tally:202311142213"]  # fmt: skip
    with ExitStack() as faults:
        for name in whole:
            faults.enter_context(wrong_type(inside.client, inside.key(name)))
        for stats in (Stats(days=1, minutes=1), Stats(days=1, minutes=1)):
            assert stats.broken == ["low"]
            assert stats.broken_keys == sorted(whole)
            assert stats.queues == {"default": 2, "odd": 1, "low": 0, "empty": 0}
            assert (stats.retries, stats.dead, stats.held) == (0, 4, 0)
            assert (stats.processed, stats.processes, stats.paused) == (0, 1, frozenset())
    with wrong_type(inside.client, inside.key("queues")):
        assert Stats().queues == {}
        assert (Stats().broken, Stats().broken_keys) == ([], ["queues"])
    assert (Stats().broken, Stats().enqueued) == ([], 4)


def test_days_are_told_the_latest_first_in_one_round_trip(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    for day, processed, failed in (("2023-11-14", 3, 1), ("2023-11-12", "x", 2)):
        inside.client.set(inside.key(f"stat:processed:{day}"), processed)
        inside.client.set(inside.key(f"stat:failed:{day}"), failed)
    count_round_trips()
    assert Stats().history(3) == [
        Day(date(2023, 11, 14), 3, 1), Day(date(2023, 11, 13), 0, 0), Day(date(2023, 11, 12), 0, 2),
    ]  # fmt: skip
    assert count_round_trips() == 1
    assert Stats().history(1, date(2023, 11, 12)) == [Day(date(2023, 11, 12), 0, 2)]
    assert len(Stats().history(1825)) == 1825


@pytest.mark.parametrize(
    "call",
    [
        lambda stats: Stats(days=-1), lambda stats: Stats(days=1826),
        lambda stats: Stats(minutes=481), lambda stats: Stats(minutes=True),
        lambda stats: stats.history(0), lambda stats: stats.history(1826),
        lambda stats: stats.history(True), lambda stats: stats.history("7"),
        lambda stats: stats.history(7, "2023-11-14"),
        lambda stats: stats.history(7, datetime(2023, 11, 14, tzinfo=UTC)),
        lambda stats: stats.history(7, date(1, 1, 3)), lambda stats: stats.reset("dead"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_value(call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidQuery, match=r"^\w+=.* is not possible: "):
        call(Stats())


def test_totals_begin_anew_and_the_days_stay(inside: Inside) -> None:
    for name in ("stat:processed", "stat:failed", "stat:processed:2023-11-14"):
        inside.client.set(inside.key(name), 9)
    stats = Stats()
    stats.reset("failed")
    assert (stats.processed, stats.failed) == (9, 0)
    stats.reset()
    assert (stats.refresh().processed, stats.history(1)[0].processed) == (0, 9)
