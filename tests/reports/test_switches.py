"""The report of the kill switches: states, who threw them, what they stopped, what misleads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.reports.switches import Note, SwitchFacts, history, switch, switches
from django_jobqueue.store.store import Store
from django_jobqueue.switches import events, flags, throwing
from django_jobqueue.switches.state import OFF, ON, State
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.flags import set_flag
from tests.support.server import RedisServer

FLAG = "disable_reported_on_job"

pytestmark = pytest.mark.django_db(transaction=True)


class ReportedOnJob(Job):
    """Its switch is reported."""

    wire_name = "Told::Job"
    kill_switch_aliases = ("once_reported_on_job",)
    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """The Redis of this test."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


def facts(flag: str = FLAG) -> SwitchFacts:
    (found,) = (each for each in switches().switches if each.flag == flag)
    return found


def throw(state: State, *names: str) -> None:
    throwing.throw(names or [FLAG], state, actor="ada", source=events.Source.ADMIN)


def test_a_switch_tells_who_threw_it_and_what_it_has_stopped_since(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: FrozenClock = freeze(monkeypatch)
    store.tally.add("refused", {"Told::Job": 100})  # before it was thrown
    clock.advance(2 * 3_600)
    throw(ON)
    thrown_at = datetime.fromtimestamp(clock.now, UTC)
    KillSwitchEvent.objects.update(at=thrown_at)
    store.tally.add("refused", {"Told::Job": 7})
    clock.advance(3 * 3_600)
    store.tally.add("refused", {"Told::Job": 2})
    store.tally.add("dropped", {"Told::Job": 1})
    found = facts()
    assert (found.state, found.is_on, found.actor, found.source) == ("on", True, "ada", "admin")
    assert (found.since, found.counted_from) == (thrown_at, thrown_at)
    assert (found.refused, found.dropped, found.held) == (2, 1, 0)
    assert (found.refused_since, found.dropped_since) == (9, 1)
    clock.advance(7 * 3_600)
    # Counts are kept for eight hours.
    found = facts()
    assert found.refused_since == 2
    assert found.counted_from is not None
    assert found.counted_from > thrown_at


def test_one_that_is_off_counts_the_last_hour_only(store: Store) -> None:
    store.tally.add("refused", {"Told::Job": 3})
    found = facts()
    assert found.is_off
    assert (found.refused, found.refused_since, found.counted_from) == (3, None, None)


def test_switches_that_mislead_are_marked() -> None:
    flags.flag_model()._default_manager.all().delete()
    assert facts().notes == (Note.NO_ROW,)
    set_flag(FLAG, None)
    set_flag("disable_once_reported_on_job", False)
    set_flag("disable_of_old_code", False)
    assert facts().notes == (Note.SAYS_NOTHING,)
    assert facts("disable_once_reported_on_job").notes == (Note.FORMER,)
    assert facts("disable_of_old_code").notes == (Note.NO_CLASS,)
    set_flag(FLAG, None, percent=5)
    assert facts().notes == ()


def test_whether_all_processes_know_is_told(store: Store) -> None:
    throw(ON)
    assert switches().told is True
    version = store.switches.version()
    store.switches.replace(version, {})  # as after a flush
    assert switches().told is False


def test_without_redis_states_are_told_and_counts_are_not(settings: Any) -> None:
    throw(State.partial(30))
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0", "CLIENT_MIDDLEWARE": []}
    found = switches()
    assert (found.told, found.refuses) == (None, False)
    assert (facts().state, facts().refused, facts().held) == ("30.0", None, None)
    one = switch(FLAG)
    assert one is not None
    assert one.minutes == ()


def test_one_switch_has_its_classes_its_history_and_its_minutes(store: Store) -> None:
    set_flag("disable_once_reported_on_job", False)
    throw(ON)
    throw(State.partial(12.5))
    throw(OFF, "disable_once_reported_on_job")
    store.tally.add("held", {"Told::Job": 4})
    found = switch(FLAG)
    assert found is not None
    (cls,) = found.classes
    assert (cls.name, cls.queue, cls.when_disabled) == ("Told::Job", "default", "hold")
    assert cls.flags == {FLAG: "12.5", "disable_once_reported_on_job": "off"}
    assert [(e.old, e.new, e.actor) for e in found.history] == [
        ("on", "12.5", "ada"),
        ("off", "on", "ada"),
    ]
    # The minute may have ended meanwhile.
    assert (len(found.minutes), sum(minute.held for minute in found.minutes[-2:])) == (60, 4)
    assert found.as_dict()["facts"]["flag"] == FLAG
    assert switch("disable_nothing_at_all") is None
    assert len(history(count=1)) == 1


def test_without_waffle_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    assert (switches().installed, switches().switches) == (False, ())
    assert switch(FLAG) is None


def test_times_are_in_utc_without_time_zones_too(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    throw(ON)
    since = facts().since
    assert since is not None
    assert abs(since - datetime.now(UTC)) < timedelta(minutes=5)
