"""Jobs are let go on, put off, killed and released by hand, each with its lock and once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobqueue.api import DeadSet, HeldSet, Progress, Queue, RetrySet, ScheduledSet
from django_jobqueue.client.results import Status
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery, JobKilled, StoreRefused
from django_jobqueue.job.disabled import held
from django_jobqueue.payload import Payload, wrap_invalid
from django_jobqueue.signals import job_died, job_enqueued, job_refused
from django_jobqueue.store.locks import Tombstone
from tests.api.samples import (
    NAME,
    ONCE,
    LookJob,
    enqueue,
    jid_of,
    lock,
    owner_of,
    payload,
    put,
    ruby,
    throw,
)
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.inside import Inside

KILL_SWITCH = "django_jobqueue.middleware.kill_switch.KillSwitch"

#: Lets an entry of each set go on.
ON_THEIR_WAY: list[tuple[str, Callable[[], Any]]] = [
    ("schedule", lambda: next(iter(ScheduledSet())).enqueue_now()),
    ("retry", lambda: next(iter(RetrySet())).enqueue_now()),
    ("retry", lambda: next(iter(RetrySet())).retry()),
    ("dead", lambda: next(iter(DeadSet())).retry()),
]

every_way = pytest.mark.parametrize(
    ("name", "go"), ON_THEIR_WAY, ids=["scheduled", "retry-now", "retry", "dead"]
)


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[KILL_SWITCH, "tests.api.middleware.Picky"])


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the signals told."""
    told: list[tuple[str, dict[str, Any]]] = []
    signals = {"enqueued": job_enqueued, "refused": job_refused, "died": job_died}
    receivers = []
    for name, signal in signals.items():

        def receive(name: str = name, **facts: Any) -> None:
            told.append((name, facts))

        receivers.append((signal, receive))
        signal.connect(receive)
    yield told
    for signal, receive in receivers:
        signal.disconnect(receive)


def bury_row(job: Payload, deaths: int = 2) -> None:
    """Let the row of a job cool down."""
    key = store().keys.tombstone(str(job.unique_digest))
    store()._link.call("HSET", key, "deaths", deaths, "until", int((time.time() + 3600) * 1000))


def grave_of(job: Payload) -> Tombstone | None:
    digest = str(job.unique_digest)
    return store().locks.tombstones([digest]).get(digest)


# On their way -----------------------------------------------------------------------


@every_way
def test_a_job_goes_to_its_queue_once_with_its_lock(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    job = payload(1, once=True, retry_count=3, failed_at=5)
    put(inside, name, job)
    answer = go()
    assert (bool(answer), answer.status, answer.jid) == (True, Status.PUSHED, jid_of(1))
    (found,) = inside.jobs("low")
    assert found["marked"] is True  # the middleware was asked
    assert abs(found["enqueued_at"] / 1000 - time.time()) < 100
    assert found["failed_at"] == 5
    assert owner_of(job) == jid_of(1)
    assert inside.entries(name) == []


@every_way
def test_who_comes_late_is_told_so(inside: Inside, name: str, go: Callable[[], Any]) -> None:
    put(inside, name, payload(1))
    entries: Any = {"schedule": ScheduledSet, "retry": RetrySet, "dead": DeadSet}[name]()
    (entry,) = entries
    assert go()
    late = entry.retry() if name == "dead" else entry.enqueue_now()
    assert (bool(late), late.status, late.jid) == (False, Status.GONE, None)
    assert "somebody else" in late.reason
    assert not entry.delete()
    assert len(inside.raw("low")) == 1


@every_way
def test_what_a_switch_stops_stays_and_that_is_said(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    (raw,) = put(inside, name, payload(1))
    throw("on")
    answer = go()
    assert (bool(answer), answer.status) == (False, Status.DISABLED)
    assert "kill switch" in answer.reason
    assert [entry.raw for entry in (*ScheduledSet(), *RetrySet(), *DeadSet())] == [raw]
    throw(None)


@every_way
def test_what_a_middleware_refuses_stays_and_that_is_said(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    put(inside, name, payload(13))
    answer = go()
    assert (bool(answer), answer.status) == (False, Status.REFUSED)
    assert len(inside.entries(name)) == 1
    assert inside.raw("low") == []


@every_way
def test_what_a_middleware_raises_reaches_the_caller_and_the_job_stays(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    put(inside, name, payload(14))
    with pytest.raises(RuntimeError, match="cannot say"):
        go()
    assert len(inside.entries(name)) == 1


@every_way
def test_a_queue_of_a_wrong_type_is_told_and_the_job_stays(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    put(inside, name, payload(1))
    with (
        wrong_type(inside.client, inside.key("queue:low")),
        pytest.raises(StoreRefused, match="WRONGTYPE"),
    ):
        go()
    assert len(inside.entries(name)) == 1


@every_way
def test_bytes_that_are_no_job_go_on_for_a_worker_to_bury(
    inside: Inside, name: str, go: Callable[[], Any]
) -> None:
    put(inside, name, b"\xff no job")
    assert go()
    assert inside.raw("default") == [b"\xff no job"]


def test_a_promoted_job_of_a_class_that_runs_all_the_same_goes(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(KILL_SWITCH={"QUEUED_JOBS": "run"})
    put(inside, "schedule", payload(1))
    put(inside, "dead", payload(2))
    throw("on")
    assert next(iter(ScheduledSet())).enqueue_now()
    # From the dead set it is an enqueue, and that is refused.
    assert next(iter(DeadSet())).retry().status is Status.DISABLED
    throw(None)


# From the dead set ------------------------------------------------------------------


@pytest.mark.parametrize(("count", "then"), [(None, None), (0, -1), (25, 24), (-1, -1)])
@pytest.mark.parametrize("name", ["retry", "dead"])
def test_a_retry_by_hand_spends_none_of_the_jobs_own(
    inside: Inside, name: str, count: int | None, then: int | None
) -> None:
    fields = {} if count is None else {"retry_count": count}
    put(inside, name, payload(1, unknown_since=5, **fields))
    (entry,) = RetrySet() if name == "retry" else DeadSet()
    assert entry.retry()
    (found,) = inside.jobs("low")
    assert found.get("retry_count") == then
    assert "unknown_since" not in found


def test_an_enqueue_now_changes_no_count(inside: Inside) -> None:
    put(inside, "retry", payload(1, retry_count=3))
    assert next(iter(RetrySet())).enqueue_now()
    assert inside.jobs("low")[0]["retry_count"] == 3


def test_a_revived_job_takes_its_lock_and_its_row_is_warm(inside: Inside) -> None:
    job = payload(1, once=True)
    bury_row(job)
    put(inside, "dead", job)
    assert owner_of(job) is None
    assert next(iter(DeadSet())).retry()
    assert owner_of(job) == jid_of(1)
    assert grave_of(job) is None


def test_a_job_stays_dead_while_a_newer_one_is_on_its_way(inside: Inside) -> None:
    job, newer = payload(1, once=True), payload(1, once=True, jid=jid_of(2))
    bury_row(job)
    put(inside, "dead", job)
    lock([newer])
    (entry,) = DeadSet()
    assert entry.lock_owner() == jid_of(2)
    answer = entry.retry()
    assert (bool(answer), answer.status) == (False, Status.DUPLICATE)
    assert answer.existing_jid == jid_of(2)
    assert grave_of(job) is not None
    assert len(DeadSet()) == 1


def test_a_retry_from_the_dead_is_told_and_counted_as_an_enqueue(
    inside: Inside, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    put(inside, "dead", payload(1))
    assert next(iter(DeadSet())).retry()
    put(inside, "dead", payload(2))
    throw("on")
    assert not next(iter(DeadSet())).retry()
    throw(None)
    assert [(name, facts["payload"].jid) for name, facts in heard] == [
        ("enqueued", jid_of(1)), ("refused", jid_of(2)),
    ]  # fmt: skip
    assert store().stats.counters()["refused"] == 1


def test_bytes_that_a_worker_kept_go_back_to_their_queue_as_they_came(inside: Inside) -> None:
    put(inside, "dead", wrap_invalid(b"\xff no job", "low"), first=1)
    assert next(iter(DeadSet())).retry()
    assert inside.raw("low") == [b"\xff no job"]
    kept = payload(3, once=True).encode()
    put(inside, "dead", wrap_invalid(kept, "low"))
    assert next(iter(DeadSet())).retry()
    assert inside.raw("low")[1:] == [kept]
    assert owner_of(payload(3, once=True)) == jid_of(3)


def test_a_ruby_clients_job_is_retried(inside: Inside) -> None:
    put(inside, "dead", ruby())
    assert next(iter(DeadSet())).retry()
    (found,) = inside.jobs("mailers")
    assert (found["retry_count"], found["cattr"]) == (-1, {"tenant": "acme"})
    assert type(found["enqueued_at"]) is int


# Another time -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["schedule", "retry"])
@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (timedelta(hours=1), 3600.0), (timedelta(hours=-1), -3600.0), (4e9, None),
        (datetime(2100, 1, 1, tzinfo=UTC), None),
    ],
)  # fmt: skip
def test_a_job_waits_until_another_time(
    inside: Inside, name: str, when: Any, expected: float | None
) -> None:
    job = payload(1, once=True)
    put(inside, name, job)
    (entry,) = ScheduledSet() if name == "schedule" else RetrySet()
    assert entry.reschedule(when)
    _, score = inside.entry(name)
    wanted = when.timestamp() if isinstance(when, datetime) else when
    assert score == pytest.approx(wanted if expected is None else time.time() + expected, abs=100)
    ttl = inside.client.ttl(inside.key(f"jq:unique:{job.unique_digest}"))
    assert ttl == pytest.approx(600 + max(0.0, score - time.time()), abs=200)


def test_a_time_that_is_none_is_refused(inside: Inside) -> None:
    put(inside, "retry", payload(1))
    for when in ("tomorrow", True, float("nan"), None):
        with pytest.raises(InvalidQuery, match="give a datetime or epoch seconds"):
            next(iter(RetrySet())).reschedule(when)  # type: ignore[arg-type]
    (entry,) = RetrySet()
    assert entry.delete()
    assert not entry.reschedule(1.0)
    assert len(RetrySet()) == 0


# Death by hand ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["queue", "schedule", "retry", "held"])
def test_a_killed_job_is_dead_and_its_lock_is_free(
    inside: Inside, name: str, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    job = payload(1, once=True)
    if name == "queue":
        enqueue(job)
    elif name == "held":
        job = held(job, "queue")
        put(inside, f"jq:held:{ONCE}", job)
    else:
        put(inside, name, job)
    places: dict[str, Any] = {
        "queue": Queue("low"), "schedule": ScheduledSet(), "retry": RetrySet(),
        "held": HeldSet(ONCE),
    }  # fmt: skip
    (entry,) = places[name]
    assert entry.kill()
    assert not entry.kill()
    (dead, at) = inside.entry("dead")
    assert (dead["jid"], dead["error_class"]) == (jid_of(1), "JobKilled")
    assert dead["error_message"] == f"killed by hand while it waited in {entry.place}"
    assert at == pytest.approx(time.time(), abs=100)
    assert "held_at" not in dead
    assert owner_of(job) is None
    ((told, facts),) = heard
    assert (told, type(facts["error"])) == ("died", JobKilled)


def test_a_killed_job_keeps_the_error_that_it_had(inside: Inside) -> None:
    put(inside, "retry", ruby())
    assert next(iter(RetrySet())).kill()
    dead, _ = inside.entry("dead")
    assert (dead["error_class"], dead["failed_at"]) == ("Net::ReadTimeout", 1700000002.75)


def test_the_row_of_a_killed_job_cools_down(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.api.moves.cooldown_of", lambda name: 60.0)
    job = payload(1, once=True)
    put(inside, "retry", job)
    assert next(iter(RetrySet())).kill()
    grave = grave_of(job)
    assert grave is not None
    assert grave.deaths == 1


# Held jobs --------------------------------------------------------------------------


def test_a_held_job_is_released_when_no_switch_stops_it(inside: Inside) -> None:
    put(inside, f"jq:held:{NAME}", held(payload(1), "retry"))
    (entry,) = HeldSet(LookJob)
    assert entry.held_from == "retry"
    assert entry.held_at is not None
    throw("on")
    assert entry.release().status is Status.DISABLED
    throw(None)
    assert entry.release()
    assert entry.release().status is Status.GONE
    (found,) = inside.jobs("low")
    assert "held_at" not in found


# Many at once -----------------------------------------------------------------------


def test_many_dead_jobs_are_retried_and_what_stays_is_counted(
    inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "django_jobqueue.api")
    twin = payload(7, once=True)
    lock([payload(7, once=True, jid=jid_of(700))])
    put(inside, "dead", *(twin if n == 7 else payload(n) for n in range(250)))
    told: list[Progress] = []
    done = DeadSet().retry_all(lambda entry: entry.args[0] != 5, progress=told.append)
    assert (done.total, done.looked_at, done.matched, done.done) == (250, 250, 249, 246)
    assert (done.duplicates, done.refused, done.failed, done.gone) == (1, 1, 1, 0)
    assert [each.looked_at for each in told] == [100, 200, 250]
    assert sorted(entry.args[0] for entry in DeadSet()) == [5, 7, 13, 14]
    assert len(inside.raw("low")) == 246
    assert "cannot say" in caplog.text
    assert jid_of(14) in caplog.text


def test_what_a_switch_stops_is_counted_among_many(inside: Inside) -> None:
    put(inside, "dead", *map(payload, range(3)), payload(9, once=True))
    throw("on")
    done = DeadSet().retry_all()
    throw(None)
    assert (done.done, done.disabled) == (1, 3)
    assert store().stats.counters()["refused"] == 3


@pytest.mark.parametrize("spares", [False, True])
def test_many_waiting_jobs_go_on(inside: Inside, spares: bool) -> None:
    put(inside, "retry", *(payload(n, retry_count=1) for n in range(130)))
    retries = RetrySet()
    done = (retries.retry_all if spares else retries.enqueue_all)(limit=120)
    assert (done.matched, done.done, done.refused, done.failed) == (120, 118, 1, 1)
    assert len(retries) == 12
    assert {job["retry_count"] for job in inside.jobs("low")} == {0 if spares else 1}


def test_many_scheduled_jobs_are_killed_and_nobody_is_told(
    inside: Inside, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    put(inside, "schedule", *map(payload, range(130)), b"no job")
    done = ScheduledSet().kill_all()
    assert (done.done, done.gone) == (131, 0)
    assert len(DeadSet()) == 131
    assert heard == []


def test_many_held_jobs_are_released(inside: Inside) -> None:
    put(inside, f"jq:held:{NAME}", *(held(payload(n), "queue") for n in range(130)))
    assert HeldSet(NAME).release_all(limit=5).done == 5
    throw("on")
    assert HeldSet(NAME).release_all().disabled == 125
    throw(None)
    assert HeldSet(NAME).release_all().done == 125


def test_what_somebody_else_took_meanwhile_is_counted(inside: Inside) -> None:
    put(inside, "retry", *map(payload, range(3)))

    def taking(entry: Any) -> bool:
        if entry.args == [1]:
            entry.delete()
        return True

    done = RetrySet().retry_all(taking)
    assert (done.done, done.gone) == (2, 1)


def test_who_is_told_of_progress_may_stop_it(inside: Inside) -> None:
    put(inside, "dead", *map(payload, range(250)))

    def stop(progress: Progress) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        DeadSet().delete_all(progress=stop)
    assert len(DeadSet()) == 150
