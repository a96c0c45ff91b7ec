"""The loop of a worker: the mirror every second, the database every few."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError
from waffle.models import Flag

from django_jobqueue import Job
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.store.store import Store
from django_jobqueue.switches import flags
from django_jobqueue.switches.state import State
from django_jobqueue.switches.switches import FRESH, switches
from django_jobqueue.switches.watcher import EVERY, Watcher, load
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.flags import is_refused, set_flag
from tests.support.polling import wait_until
from tests.support.server import RedisServer

FLAG = "disable_watched_job"

pytestmark = pytest.mark.django_db(transaction=True)


class WatchedJob(Job):
    """Its switch is watched."""

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """Where the mirror of this test is."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time that the test moves."""
    return freeze(monkeypatch)


def run(watcher: Watcher, clock: FrozenClock, seconds: float) -> None:
    """Let a watcher tick for as long as that, waiting as it says."""
    end = clock.monotonic + seconds
    while True:
        wait = watcher.tick()
        if clock.monotonic + wait > end:
            break
        clock.advance(wait)


def test_what_was_written_past_every_signal_is_obeyed_everywhere_within_five_seconds(
    store: Store, clock: FrozenClock
) -> None:
    # Others look at the mirror once a second; the half is for the way.
    assert EVERY + FRESH + 0.5 <= 5
    watcher = Watcher()
    run(watcher, clock, 10)
    for everyone in (True, False):
        Flag.objects.filter(name=FLAG).update(everyone=everyone)
        run(watcher, clock, EVERY)
        assert store.switches.read() == ({FLAG: "on"} if everyone else {})
        assert is_refused(WatchedJob) is everyone


def test_a_job_never_asks_redis_for_its_switch_where_the_watcher_does(
    store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher()
    asked: list[float] = []
    monkeypatch.setattr(switches(), "_read", lambda: asked.append(clock.monotonic))
    for _ in range(20):
        clock.advance(watcher.tick())
        assert asked.pop()
        assert not is_refused(WatchedJob)
        assert not asked


def test_a_flushed_mirror_is_back_within_five_seconds(store: Store, clock: FrozenClock) -> None:
    set_flag(FLAG, True)
    watcher = Watcher()
    store._link.call("DEL", store.keys.switches)
    run(watcher, clock, EVERY)
    assert store.switches.read() == {FLAG: "on"}


def test_what_others_publish_is_known_a_second_later(
    store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.switches.watcher.EVERY", 1e9)  # not by the database
    watcher = Watcher()
    run(watcher, clock, 10)
    store.switches.replace(store.switches.version(), {FLAG: "on"})
    run(watcher, clock, FRESH)
    assert is_refused(WatchedJob)


def test_while_the_database_is_down_the_mirror_is_read_on(
    store: Store,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise DatabaseError("no answer")

    set_flag(FLAG, True)
    monkeypatch.setattr(flags, "read_states", fail)
    watcher = Watcher()
    run(watcher, clock, 30)
    assert is_refused(WatchedJob)
    assert caplog.messages == ["The flags cannot be read, the last known states stay: no answer"]
    store.switches.replace(store.switches.version(), {})
    run(watcher, clock, FRESH)
    assert not is_refused(WatchedJob)


def test_a_connection_that_is_cut_in_the_middle_delays_no_switch(
    store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_states = flags.read_states
    answers = iter([InterfaceError("connection already closed")])

    def fail_once() -> dict[str, State]:
        for error in answers:
            raise error
        return read_states()

    watcher = Watcher()
    Flag.objects.filter(name=FLAG).update(everyone=True)
    monkeypatch.setattr(flags, "read_states", fail_once)
    run(watcher, clock, EVERY + 0.2)
    assert next(answers, None) is None
    assert store.switches.read() == {FLAG: "on"}


def test_a_redis_that_is_away_is_told_to_the_loop(settings: Any, clock: FrozenClock) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    watcher = Watcher()
    clock.advance(EVERY)
    with pytest.raises(StoreUnavailable):
        watcher.tick()


def test_the_loop_runs_and_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    Flag.objects.filter(name=FLAG).update(everyone=True)
    monkeypatch.setattr("django_jobqueue.switches.watcher.EVERY", 0.05)
    watcher = Watcher()
    watcher.start()
    try:
        wait_until(lambda: store.switches.read() == {FLAG: "on"})
    finally:
        watcher.stop()
        assert watcher.join(10)


def test_a_worker_knows_the_switches_before_its_first_job(store: Store) -> None:
    Flag.objects.filter(name=FLAG).update(everyone=True)
    load()
    assert is_refused(WatchedJob)
    assert store.switches.read() == {FLAG: "on"}


def test_a_worker_begins_with_the_mirror_where_the_database_is_down(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise DatabaseError("no answer")

    store.switches.replace("", {FLAG: "on"})
    monkeypatch.setattr(flags, "read_states", fail)
    load()
    assert is_refused(WatchedJob)
    assert caplog.messages == ["The kill switches cannot be brought up to date yet: no answer"]


# Off again --------------------------------------------------------------------------


def test_the_jobs_whose_switch_is_off_again_are_told_once(store: Store, clock: FrozenClock) -> None:
    told: list[set[str]] = []
    set_flag(FLAG, True)
    watcher = Watcher(turned_off=lambda names: told.append(set(names)))
    for everyone, percent in ((True, None), (None, 30), (False, None), (False, None)):
        set_flag(FLAG, everyone, percent)
        run(watcher, clock, 2 * FRESH)
    assert told == [{f"{__name__}.WatchedJob"}]


def test_a_switch_that_others_turn_off_is_told_too(store: Store, clock: FrozenClock) -> None:
    told: list[set[str]] = []
    load()
    watcher = Watcher(turned_off=lambda names: told.append(set(names)))
    for everyone in (True, False):
        Flag.objects.filter(name=FLAG).update(everyone=everyone)
        run(watcher, clock, 2 * EVERY)
    assert told == [{f"{__name__}.WatchedJob"}]


def test_what_could_not_be_told_is_told_again(store: Store, clock: FrozenClock) -> None:
    told: list[set[str]] = []

    def heal(names: Collection[str]) -> None:
        told.append(set(names))
        if len(told) == 1:
            raise StoreUnavailable("no answer")

    set_flag(FLAG, True)
    watcher = Watcher(turned_off=heal)
    set_flag(FLAG, False)
    with pytest.raises(StoreUnavailable):
        watcher.tick()
    run(watcher, clock, 2 * FRESH)
    assert told == [{f"{__name__}.WatchedJob"}] * 2
