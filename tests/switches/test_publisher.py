"""From the database to the mirror: whoever comes in whatever order, it ends with the truth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections
from waffle.models import Flag

from django_jobqueue import Job
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.store.store import Store
from django_jobqueue.switches import flags, publisher
from django_jobqueue.switches.publisher import sync
from django_jobqueue.switches.switches import FRESH, switches
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.flags import is_refused, set_flag
from tests.support.polling import wait_until
from tests.support.server import RedisServer

#: Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"

FLAG = "disable_published_job"

pytestmark = pytest.mark.django_db(transaction=True)


class PublishedJob(Job):
    """Its switch goes to Redis."""

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """Where the mirror of this test is."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


def sources() -> list[tuple[str, str, str, str]]:
    """Return all events as flag, from, to and source, the oldest first."""
    events = KillSwitchEvent.objects.order_by("pk")
    return list(events.values_list("flag", "old_state", "new_state", "source"))


def test_a_saved_flag_stands_in_the_mirror_after_the_commit(store: Store) -> None:
    set_flag(FLAG, True)
    set_flag("disable_another_job", None, 30)
    assert store.switches.read() == {FLAG: "on", "disable_another_job": "30.0"}
    set_flag(FLAG, False)
    assert store.switches.read() == {"disable_another_job": "30.0"}
    Flag.objects.get(name="disable_another_job").delete()
    assert store.switches.read() == {}


def test_a_missing_mirror_is_written_again(store: Store) -> None:
    sync()
    assert store.switches.read() == {}
    set_flag(FLAG, True)
    store._link.call("DEL", store.keys.switches)
    sync()
    assert store.switches.read() == {FLAG: "on"}


def test_from_one_share_to_another_the_mirror_never_says_nothing(store: Store) -> None:
    seen: set[str | None] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            states = store.switches.read()
            seen.add(None if states is None else states.get(FLAG))

    set_flag(FLAG, True)
    thread = threading.Thread(target=look)
    thread.start()
    try:
        for percent in (90, 50, 30, 10):
            set_flag(FLAG, None, percent)
            wait_until(lambda p=percent: f"{p}.0" in seen)  # type: ignore[misc]
    finally:
        done.set()
        thread.join(10)
    assert seen <= {"on", "90.0", "50.0", "30.0", "10.0"}


def test_who_read_before_another_committed_reads_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, interleaved on purpose: A reads, B commits and writes, A writes."""
    read = flags.read_states
    readings: list[object] = []

    def read_and_be_overtaken() -> Any:
        states = read()
        readings.append(states)
        if len(readings) == 1:
            Flag.objects.filter(name=FLAG).update(everyone=False)
            store.switches.replace(store.switches.version(), {})  # B
        return states

    set_flag(FLAG, True)
    monkeypatch.setattr(flags, "read_states", read_and_be_overtaken)
    sync()
    assert len(readings) == 2
    assert store.switches.read() == {}
    assert not is_refused(PublishedJob)


def test_many_threads_that_change_flags_at_once_end_with_the_truth(store: Store) -> None:
    names = [f"disable_rival_{number}" for number in range(4)]

    def toggle(name: str) -> None:
        for everyone in (True, False, True, False, True):
            set_flag(name, everyone)
        connections.close_all()

    threads = [threading.Thread(target=toggle, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert store.switches.read() == dict.fromkeys(names, "on")


def test_who_is_always_overtaken_gives_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = flags.read_states
    readings: list[None] = []

    def read_and_be_overtaken() -> Any:
        readings.append(None)
        store.switches.replace(store.switches.version(), {"disable_x": f"{len(readings)}.0"})
        return read()

    monkeypatch.setattr(flags, "read_states", read_and_be_overtaken)
    sync()
    assert len(readings) == publisher.TRIES


def test_an_unreachable_redis_never_reaches_whoever_saved_the_flag(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE}
    set_flag(FLAG, True)
    assert Flag.objects.get(name=FLAG).everyone is True
    (line,) = caplog.messages
    assert line.startswith("A kill switch was changed, and other processes are not told yet: ")
    assert is_refused(PublishedJob)  # here it is known all the same
    with pytest.raises(StoreUnavailable):
        sync()


def test_wrong_settings_never_reach_whoever_saved_the_flag(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBQUEUE = {"LEASE": "long"}
    set_flag(FLAG, True)
    assert "settings.JOBQUEUE cannot be used" in caplog.text


def test_where_the_database_cannot_be_read_everything_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise DatabaseError("no answer")

    set_flag(FLAG, True)
    monkeypatch.setattr(flags, "read_states", fail)
    with pytest.raises(DatabaseError):
        sync()
    assert store.switches.read() == {FLAG: "on"}
    assert is_refused(PublishedJob)


def test_without_waffle_the_mirror_of_others_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.switches.replace("", {"disable_x": "on"})
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    sync()
    assert store.switches.read() == {"disable_x": "on"}


# A flushed Redis --------------------------------------------------------------------


def test_after_a_flush_the_switch_is_still_on_and_the_mirror_comes_back(
    private_redis: Callable[..., RedisServer], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = private_redis()
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    clock = freeze(monkeypatch)
    set_flag(FLAG, True)
    with server.client() as client:
        client.flushall()
        clock.advance(FRESH)
        assert PublishedJob.perform_async() is None
        sync()
        assert client.hget("jq:switches", FLAG) == b"on"
    assert len(sources()) == 1


# What nobody recorded ---------------------------------------------------------------


def test_what_is_written_past_every_door_is_found_and_recorded_once(store: Store) -> None:
    set_flag("disable_rival", True)
    Flag.objects.filter(name__in=[FLAG, "disable_rival"]).delete()
    Flag.objects.bulk_create([Flag(name=FLAG, everyone=True)])
    sync()
    sync()
    assert store.switches.read() == {FLAG: "on"}
    assert is_refused(PublishedJob)
    Flag.objects.filter(name=FLAG).update(everyone=None, percent=30)
    sync()
    assert sources()[2:] == [
        (FLAG, "off", "on", "database"),
        (FLAG, "on", "30.0", "database"),
    ]


def test_waffle_delete_is_obeyed(store: Store) -> None:
    set_flag(FLAG, True)
    call_command("waffle_delete", "--flags", FLAG, verbosity=0)
    assert not is_refused(PublishedJob)
    assert store.switches.read() == {}


def test_only_who_changed_the_mirror_records_what_nobody_did(store: Store) -> None:
    sync()
    Flag.objects.filter(name=FLAG).update(everyone=True)
    # Another process was faster.
    store.switches.replace(store.switches.version(), {FLAG: "on"})
    sync()
    assert sources() == []
    assert switches().is_on(f"{__name__}.PublishedJob")
