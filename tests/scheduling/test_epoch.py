"""A Redis that has lost its data is noticed by everybody, and healed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.scheduling.epoch import EpochWatch
from django_jobqueue.signals import redis_data_lost
from django_jobqueue.store.epoch import Epoch
from django_jobqueue.store.store import Store
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.inside import Inside
from tests.support.polling import wait_until
from tests.support.server import RedisServer


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, freshened: list[str]) -> None:
    jobqueue_settings()


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What listeners are told of lost data."""
    found: list[dict[str, Any]] = []

    def hear(**facts: Any) -> None:
        found.append(facts)

    redis_data_lost.connect(hear)
    yield found
    redis_data_lost.disconnect(hear)


class Process:
    """The watch of one process, and what it asked to be healed."""

    def __init__(self) -> None:
        self.healed: list[str] = []
        self.watch = EpochWatch(store(), self.healed.append)

    def look(self) -> float:
        return self.watch.tick()


def test_a_full_redis_is_told_once_and_marked_when_it_has_room(
    private_redis: Callable[..., RedisServer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = private_redis()
    healed: list[str] = []
    with server.client() as client:
        client.config_set("maxmemory", 1)
        watch = EpochWatch(Store(server.url, timeout=10), healed.append)
        for _ in range(3):
            assert watch.tick() > 0
        assert [r.getMessage()[:14] for r in caplog.records] == ["Redis is full:"]
        client.config_set("maxmemory", 0)
        watch.tick()
        assert healed == ["Redis is empty"]


def flush(inside: Inside) -> None:
    inside.client.delete(*(inside.key(name) for name in inside.names()))


def test_a_first_start_heals_once_and_tells_nobody(
    inside: Inside, heard: list[dict[str, Any]]
) -> None:
    fleet = [Process() for _ in range(3)]
    for process in fleet * 2:
        process.look()
    assert [process.healed for process in fleet] == [["Redis is empty"], [], []]
    assert heard == []
    assert inside.client.ttl(inside.key("jq:epoch")) == -1


def test_a_process_that_starts_later_does_nothing(
    inside: Inside, heard: list[dict[str, Any]]
) -> None:
    Process().look()
    late = Process()
    late.look()
    assert late.healed == []
    assert heard == []


def test_lost_data_are_told_by_everybody_and_healed_by_one(
    inside: Inside,
    heard: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = freeze(monkeypatch)
    fleet = [Process() for _ in range(3)]
    for process in fleet:
        process.look()
        process.healed.clear()
    for round_ in range(2):
        flush(inside)
        for process in fleet * 2:
            process.look()
        assert sorted(process.healed for process in fleet) == [
            [],
            [],
            ["Redis has lost its data"],
        ]
        assert len(heard) == 3 * (round_ + 1)
        for process in fleet:
            process.healed.clear()
    assert [facts["heals"] for facts in heard].count(True) == 2
    assert {facts["at"] for facts in heard} == {clock.now}
    assert {facts["sender"] for facts in heard} == {None}
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 6


def test_a_marker_that_somebody_else_wrote_is_told_of_too(
    inside: Inside, heard: list[dict[str, Any]]
) -> None:
    known = Process()
    known.look()
    known.healed.clear()
    flush(inside)
    newcomer = Process()
    newcomer.look()
    known.look()
    assert newcomer.healed == ["Redis is empty"]
    assert known.healed == []
    assert [facts["heals"] for facts in heard] == [False]


def test_a_race_for_the_marker_is_won_by_one(
    inside: Inside, heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Process(), Process()
    begin = Epoch.begin

    def begin_late(self: Epoch, token: str) -> str | None:
        monkeypatch.undo()
        second.look()
        return begin(self, token)

    monkeypatch.setattr(Epoch, "begin", begin_late)
    first.look()
    assert (first.healed, second.healed) == ([], ["Redis is empty"])


def test_a_marker_whose_reply_was_lost_is_ours(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process()
    begin = Epoch.begin

    def lose_the_reply(self: Epoch, token: str) -> str | None:
        begin(self, token)
        raise StoreUnavailable("Timeout reading from socket")

    with monkeypatch.context() as broken:
        broken.setattr(Epoch, "begin", lose_the_reply)
        with pytest.raises(StoreUnavailable):
            process.look()
    assert process.healed == []
    process.look()
    process.look()
    assert process.healed == ["Redis is empty"]


def test_an_outage_is_no_loss(
    private_redis: Callable[..., RedisServer], heard: list[dict[str, Any]]
) -> None:
    server = private_redis(appendonly="yes", appendfsync="always")
    healed: list[str] = []
    watch = EpochWatch(Store(server.url), healed.append)
    watch.tick()
    healed.clear()
    server.kill9()
    with pytest.raises(StoreUnavailable):
        watch.tick()
    server.start()
    watch.tick()
    assert (healed, heard) == ([], [])


def test_a_flushed_server_is_noticed_by_the_loop(
    private_redis: Callable[..., RedisServer], heard: list[dict[str, Any]]
) -> None:
    server = private_redis()
    healed: list[str] = []
    watch = EpochWatch(Store(server.url), healed.append)
    watch.start()
    try:
        wait_until(lambda: healed == ["Redis is empty"], what="the first look")
        with server.client() as client:
            client.flushall()
        wait_until(lambda: len(healed) == 2, what="the flush to be noticed")
        wait_until(lambda: heard, what="the signal")
    finally:
        watch.stop()
        assert watch.join(10)
    assert healed[1] == "Redis has lost its data"


def test_it_looks_about_once_a_second(inside: Inside) -> None:
    process = Process()
    assert all(0.5 < process.look() < 1.5 for _ in range(20))
