"""What a process knows of the switches: read seldom, kept in trouble, and asked for nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.store.store import Store
from django_jobqueue.store.switches import SwitchMirror
from django_jobqueue.switches import mirror
from django_jobqueue.switches.state import ON, State
from django_jobqueue.switches.switches import FRESH, PAUSE, switches
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.flags import is_refused, payload_of
from tests.support.inside import Inside
from tests.support.server import RedisServer

#: Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"

FLAG = "disable_told_job"


class ToldJob(Job):
    """May be enqueued where nothing is known."""

    kill_switch_aliases = ("told_before_job",)

    def perform(self) -> None:
        """Do nothing."""


class CautiousJob(ToldJob):
    """May not."""

    kill_switch_fail = "closed"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time that the test moves."""
    return freeze(monkeypatch)


@pytest.fixture
def told(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """The store that holds the mirror of this process; the mirror is empty."""
    store = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    store.switches.replace("", {})
    yield store
    store.close()


def tell(store: Store, **states: str) -> None:
    """Write the mirror as another process does."""
    store.switches.replace(store.switches.version(), states)


# Reading --------------------------------------------------------------------------


def test_a_switch_that_others_threw_is_obeyed_within_a_second(
    told: Store, clock: FrozenClock
) -> None:
    assert not is_refused(ToldJob)
    tell(told, **{FLAG: "on"})
    clock.advance(FRESH)
    assert is_refused(ToldJob)
    assert not is_refused(CautiousJob)
    tell(told)
    clock.advance(FRESH)
    assert not is_refused(ToldJob)


def test_the_mirror_is_read_once_a_second_however_often_somebody_asks(
    told: Store, clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    is_refused(ToldJob)
    count_round_trips()
    for _ in range(100):
        is_refused(ToldJob)
        clock.advance(FRESH / 200)
    assert count_round_trips() == 0
    clock.advance(FRESH)
    for _ in range(100):
        is_refused(ToldJob)
    assert count_round_trips() == 1


def test_the_first_question_reads_the_mirror(told: Store) -> None:
    tell(told, **{FLAG: "on"})
    assert is_refused(ToldJob)


def test_a_forced_look_reads_at_once(told: Store, clock: FrozenClock) -> None:
    assert not is_refused(ToldJob)
    tell(told, **{FLAG: "on"})
    switches().refresh()
    assert not is_refused(ToldJob)
    switches().refresh(force=True)
    assert is_refused(ToldJob)


def test_a_share_is_stopped_by_jid(told: Store) -> None:
    tell(told, **{FLAG: "30.0"})
    stopped, spared = f"{299:08x}", f"{300:08x}"
    for _ in range(2):
        assert switches().refuses(payload_of(ToldJob, stopped))
        assert not switches().refuses(payload_of(ToldJob, spared))
    assert switches().state_of(wire_name(ToldJob)) == State.partial(30)
    assert not switches().is_on(wire_name(ToldJob))


def test_the_strongest_of_a_jobs_flags_counts(told: Store, clock: FrozenClock) -> None:
    tell(told, **{FLAG: "30.0", "disable_told_before_job": "on"})
    assert switches().is_on(wire_name(ToldJob))
    assert is_refused(ToldJob)


def test_a_job_that_says_so_passes(told: Store) -> None:
    tell(told, **{FLAG: "on"})
    assert not switches().refuses(payload_of(ToldJob, bypass_kill_switch=True))


def test_jobs_of_unknown_classes_pass(told: Store) -> None:
    tell(told, disable_invoice_job="on")
    assert not switches().refuses(payload_of(ToldJob).replace(**{"class": "Rails::InvoiceJob"}))


def test_a_state_that_cannot_be_read_changes_nothing(
    told: Store, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    tell(told, **{FLAG: "on"})
    assert is_refused(ToldJob)
    tell(told, **{FLAG: "perhaps", "disable_cautious_job": "on"})
    clock.advance(FRESH)
    assert is_refused(ToldJob)
    assert is_refused(CautiousJob)
    assert caplog.messages == [
        "The mirror has 'perhaps' as the state of disable_told_job; it is not changed"
    ]


# Trouble --------------------------------------------------------------------------


def test_while_redis_is_away_the_last_known_state_stays(
    private_redis: Callable[..., RedisServer],
    settings: Any,
    clock: FrozenClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = private_redis()
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    store = Store(server.url, timeout=10.0)
    tell(store, **{FLAG: "on"})
    store.close()
    assert is_refused(ToldJob)
    server.kill9()
    for _ in range(10):
        clock.advance(PAUSE)
        assert is_refused(ToldJob)
    (line,) = caplog.messages
    assert line.startswith("The kill switches cannot be read, the last known states stay: ")
    clock.advance(60)
    assert is_refused(ToldJob)
    assert len(caplog.messages) == 2


def test_redis_is_left_alone_for_five_seconds_after_it_failed(
    settings: Any, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []

    def fail(self: SwitchMirror) -> None:
        tries.append(self)
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(SwitchMirror, "read", fail)
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE}
    for _ in range(10):
        is_refused(ToldJob)
        clock.advance(PAUSE / 10)
    assert len(tries) == 1
    is_refused(ToldJob)
    assert len(tries) == 2


def test_redis_has_half_a_second_to_answer(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(SOCKET_TIMEOUT=30)
    store = mirror.find_store()
    assert store is not None
    assert store._link.timeout == 0.5


def test_where_nothing_was_ever_known_a_class_may_be_open_or_closed(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE}
    assert not is_refused(ToldJob)
    assert is_refused(CautiousJob)
    assert switches().is_on(wire_name(CautiousJob))
    assert not switches().refuses(payload_of(CautiousJob, bypass_kill_switch=True))
    assert "no state is known yet" in caplog.messages[0]


def test_a_mirror_that_was_never_written_tells_nothing(
    jobqueue_settings: JobqueueSettings, told: Store
) -> None:
    jobqueue_settings(KEY_PREFIX=f"{told.keys.prefix}other:")
    assert not is_refused(ToldJob)
    assert is_refused(CautiousJob)


def test_a_mirror_that_vanished_leaves_what_is_known(
    told: Store, clock: FrozenClock, inside: Inside
) -> None:
    tell(told, **{FLAG: "on"})
    assert is_refused(ToldJob)
    inside.client.delete(told.keys.switches)
    clock.advance(FRESH)
    assert is_refused(ToldJob)
    assert not is_refused(CautiousJob)


def test_wrong_settings_do_not_make_the_question_raise(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBQUEUE = {"LEASE": "long"}
    assert not is_refused(ToldJob)
    assert "settings.JOBQUEUE cannot be used" in caplog.text


# Without Redis --------------------------------------------------------------------


@pytest.mark.parametrize("outlet", ["fake", "inline"])
def test_where_jobs_do_not_go_to_redis_it_is_not_asked(
    settings: Any, outlet: str, count_round_trips: Callable[[], int]
) -> None:
    settings.JOBQUEUE = {"OUTLET": outlet, "REDIS_URL": NOWHERE}
    assert not is_refused(ToldJob)
    assert not is_refused(CautiousJob)  # there is nobody who could throw its switch elsewhere
    switches().count_refused({"A": 1})
    assert mirror.find_store() is None
    assert count_round_trips() == 0


def test_a_process_that_is_apart_does_not_ask_until_it_is_back(
    told: Store, clock: FrozenClock, count_round_trips: Callable[[], int]
) -> None:
    tell(told, **{FLAG: "on"})
    count_round_trips()
    with switches().apart():
        assert not is_refused(ToldJob)
        assert not is_refused(CautiousJob)
        switches().count_refused({"A": 1})
        assert count_round_trips() == 0
    assert is_refused(ToldJob)


def test_no_embedded_server_is_started_to_look_at_a_switch(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a server was to be started")

    monkeypatch.setattr("django_jobqueue.connection.ensure_server", refuse)
    settings.DEBUG = True
    settings.JOBQUEUE = {"EMBEDDED_DIR": tmp_path / "data"}
    assert not is_refused(ToldJob)
    assert not (tmp_path / "data").exists()


# This thread, this process --------------------------------------------------------


def test_what_is_pinned_is_answered_from_one_look(told: Store, clock: FrozenClock) -> None:
    with switches().pinned():
        tell(told, **{FLAG: "on"})
        clock.advance(10 * FRESH)
        assert not is_refused(ToldJob)
        with switches().pinned():
            assert not is_refused(ToldJob)
    assert is_refused(ToldJob)
    with switches().pinned():
        tell(told)
        clock.advance(10 * FRESH)
        switches().refresh(force=True)
        assert is_refused(ToldJob)


def test_a_thread_may_be_let_through(told: Store) -> None:
    tell(told, **{FLAG: "on"})
    seen: list[bool] = []
    with switches().allowing():
        assert not is_refused(ToldJob)
        with switches().pinned():
            assert not is_refused(ToldJob)
        assert switches().is_on(wire_name(ToldJob))
        thread = threading.Thread(target=lambda: seen.append(is_refused(ToldJob)))
        thread.start()
        thread.join(10)
    assert seen == [True]
    assert is_refused(ToldJob)


def test_an_override_wins_over_everything_for_a_while(told: Store, clock: FrozenClock) -> None:
    with switches().overridden({FLAG: ON}):
        assert is_refused(ToldJob)
        clock.advance(FRESH)
        assert is_refused(ToldJob)
        with switches().overridden({FLAG: State.partial(0)}):
            assert not is_refused(ToldJob)
        assert is_refused(ToldJob)
    assert not is_refused(ToldJob)


def test_an_override_outlives_other_settings(
    told: Store, jobqueue_settings: JobqueueSettings
) -> None:
    with switches().overridden({FLAG: ON}):
        jobqueue_settings(SOCKET_TIMEOUT=3)
        assert is_refused(ToldJob)
    assert not is_refused(ToldJob)


def test_other_settings_make_everything_known_anew(
    told: Store, jobqueue_settings: JobqueueSettings
) -> None:
    tell(told, **{FLAG: "on"})
    assert is_refused(ToldJob)
    jobqueue_settings(KEY_PREFIX=f"{told.keys.prefix}other:")
    assert not is_refused(ToldJob)


def test_a_fork_knows_what_its_parent_knew_and_reads_for_itself(told: Store) -> None:
    tell(told, **{FLAG: "on"})
    assert is_refused(ToldJob)
    read_end, write_end = os.pipe()
    with switches()._reading, switches()._counting:  # as another thread may hold them now
        pid = os.fork()
        if pid == 0:
            try:
                known = switches()._view.states.keys() == {FLAG}
                tell(Store(told._url, prefix=told.keys.prefix))
                os.write(write_end, b"%d%d" % (known, is_refused(ToldJob)))
            finally:
                os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(write_end)
    assert os.read(read_end, 10) == b"10"
    os.close(read_end)


# Counting -------------------------------------------------------------------------


def test_what_was_refused_is_counted_in_one_round_trip(
    told: Store, count_round_trips: Callable[[], int]
) -> None:
    is_refused(ToldJob)
    count_round_trips()
    switches().count_refused({"A": 2, "B": 1})
    assert count_round_trips() == 1
    assert told.tally.last() == {"A": {"refused": 2}, "B": {"refused": 1}}


def test_what_could_not_be_counted_is_counted_later(
    told: Store,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as broken:
        broken.setattr("django_jobqueue.store.tally.Tally.add", fail)
        switches().count_refused({"A": 1})
    switches().count_refused({"A": 2})
    assert told.tally.last() == {}  # Redis is left alone for a while
    clock.advance(PAUSE)
    switches().count_refused({"A": 4})
    assert told.tally.last() == {"A": {"refused": 7}}
    assert caplog.messages == ["Refused jobs cannot be counted now: no answer"]
