"""Held jobs go again when their switch is off: gently, each once, and stopped at any moment."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.disabled import held
from django_jobqueue.scheduling import releaser as room
from django_jobqueue.scheduling.releaser import LOOK, SLICE, FailureRate, Releaser
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.sets import HOLD, Promotion
from django_jobqueue.switches.switches import switches
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.inside import Inside


class ReleaseMeJob(Job):
    """Is held and released."""

    def perform(self, number: int) -> None:
        """Do nothing."""


NAME = wire_name(ReleaseMeJob)
FLAG = "disable_release_me_job"


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    jobqueue_settings(KILL_SWITCH={"RELEASE_RATE": 1_000_000})
    monkeypatch.setattr(room, "RAMP", 0.0)


def job(number: int, **fields: Any) -> Payload:
    made = {"class": NAME, "args": [number], "jid": f"{number:024x}", "queue": "low", **fields}
    return Payload(made)


def hold(*payloads: Payload, place: str = "schedule") -> None:
    """Hold jobs as the poller does."""
    for payload in payloads:
        store().queues.push({}, [(1.0, payload.encode())])
    promotions = [
        Promotion(HOLD, p.encode(), held(p, place).encode(), job_class=NAME, lock=lock_of(p))
        for p in payloads
    ]
    for at in range(0, len(promotions), 100):
        store().sets.promote("schedule", promotions[at : at + 100])


def throw(state: str | None) -> None:
    """Write the mirror as a process does that saves the flag."""
    mirror = store().switches
    mirror.replace(mirror.version(), {} if state is None else {FLAG: state})


def tick_until_quiet(duty: Releaser) -> None:
    for _ in range(1000):
        if duty.tick() == LOOK:
            return
    raise AssertionError("it goes on and on")


def test_nothing_held_is_looked_at_once_a_second() -> None:
    assert Releaser(store()).tick() == LOOK


def test_held_jobs_go_back_each_once_the_longest_held_first(inside: Inside) -> None:
    hold(*map(job, range(250)))
    throw(None)
    duty = Releaser(store())
    tick_until_quiet(duty)
    assert inside.args("low") == [[number] for number in range(250)]
    assert store().held.classes() == {}
    assert not inside.client.exists(inside.key("jq:held"))


def test_a_released_job_is_what_it_was_with_a_new_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = freeze(monkeypatch)
    retried = {"retry_count": 2, "error_class": "ValueError", "failed_at": 5, "x": {"y": []}}
    hold(job(1, **retried), place="retry")
    (entry,) = (raw for raw, _ in store().held.page(NAME))
    assert Payload.decode(entry).held_from == "retry"
    assert Payload.decode(entry).time("held_at") == pytest.approx(clock.now, abs=0.001)
    tick_until_quiet(Releaser(store()))
    (found,) = inside.jobs("low")
    assert found.pop("enqueued_at") == int(clock.now * 1000)
    assert found == job(1, **retried).fields


def test_nothing_goes_while_the_switch_is_on(inside: Inside) -> None:
    hold(job(1))
    throw("on")
    assert Releaser(store()).tick() == LOOK
    assert inside.args("low") == []
    assert store().held.classes() == {NAME: 1}


def test_a_switch_thrown_again_stops_the_release_at_the_next_slice(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(*map(job, range(300)))
    throw(None)
    duty = Releaser(store())
    release = duty._store.sets.release
    slices = []

    def release_and_throw(*args: Any) -> Any:
        slices.append(len(args[1]))
        try:
            return release(*args)
        finally:
            throw("on")

    monkeypatch.setattr(duty._store.sets, "release", release_and_throw)
    tick_until_quiet(duty)
    (released,) = slices
    assert len(inside.args("low")) == released
    assert store().held.classes() == {NAME: 300 - released}


def test_a_switch_that_is_partly_on_lets_the_others_go(inside: Inside) -> None:
    # The first eight digits of a jid decide; these are beyond and within 30 %.
    going = [job(n, jid=f"{900 + n:08x}{'0' * 16}") for n in range(50)]
    staying = [job(n, jid=f"{n:08x}{'0' * 16}") for n in range(150)]
    hold(*staying, *going)
    throw("30.0")
    tick_until_quiet(Releaser(store()))
    assert inside.args("low") == [[n] for n in range(50)]
    assert store().held.classes() == {NAME: 150}


def test_the_rate_holds_for_all_processes_together(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(KILL_SWITCH={"RELEASE_RATE": 50})
    hold(*map(job, range(300)))
    throw(None)
    duties = [Releaser(store()) for _ in range(3)]
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        for duty in duties:
            duty.tick()
    # Measured after the last look: it can only be longer than what the rate was applied to.
    most = 50 * (time.monotonic() - began) + 6
    assert 1 < len(inside.args("low")) <= most


def test_the_release_begins_slowly(
    inside: Inside, jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings(KILL_SWITCH={"RELEASE_RATE": 100})
    monkeypatch.setattr(room, "RAMP", 1000.0)
    hold(*map(job, range(100)))
    duty = Releaser(store())
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        duty.tick()
    assert len(inside.args("low")) <= 12 * (time.monotonic() - began) + 2


def test_the_release_waits_while_the_queue_is_behind(inside: Inside) -> None:
    hold(job(1))
    late = job(2, enqueued_at=int((time.time() - 61) * 1000))
    store().queues.push({"low": [late.encode()]})
    assert Releaser(store()).tick() == LOOK
    assert inside.args("low") == [[2]]


def test_the_release_waits_while_much_fails(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = freeze(monkeypatch)
    hold(*map(job, range(10)))
    duty = Releaser(store())
    duty._failures.look()
    clock.advance(2)
    inside.client.incrby(inside.key("stat:processed"), 40)
    inside.client.incrby(inside.key("stat:failed"), 21)
    with caplog.at_level(logging.WARNING, logger="django_jobqueue.switches"):
        assert duty.tick() == LOOK
        assert duty.tick() == LOOK
    assert "many jobs fail" in caplog.text
    assert inside.args("low") == []
    clock.advance(60)
    tick_until_quiet(duty)
    assert len(inside.args("low")) == 10


@pytest.mark.parametrize(("failed", "high"), [(20, False), (21, True)])
def test_more_than_half_of_the_attempts_is_much(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, failed: int, high: bool
) -> None:
    clock = freeze(monkeypatch)
    rate = FailureRate(store())
    rate.look()
    clock.advance(2)
    inside.client.incrby(inside.key("stat:processed"), 40)
    inside.client.incrby(inside.key("stat:failed"), failed)
    rate.look()
    assert rate.is_high is high
    clock.advance(100)
    rate.look()
    assert not rate.is_high


def test_what_is_no_job_goes_where_a_worker_buries_it(inside: Inside) -> None:
    key = store().keys
    inside.client.zadd(key.held(NAME), {b"\xffnot a job": 1})
    inside.client.sadd(key.held_classes, NAME)
    tick_until_quiet(Releaser(store()))
    assert inside.raw("default") == [b"\xffnot a job"]


def test_a_held_job_keeps_its_lock_without_an_end_and_gets_one_when_released(
    inside: Inside,
) -> None:
    digest = "a" * 32
    unique = job(1, unique_for=60.0, unique_digest=digest)
    hold(unique)
    lock = inside.key(f"jq:unique:{digest}")
    assert inside.client.get(lock) == unique.jid.encode()
    assert inside.client.ttl(lock) == -1
    tick_until_quiet(Releaser(store()))
    assert 0 < inside.client.ttl(lock) <= 60


def test_many_held_jobs_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "MANY", 2)
    hold(*map(job, range(3)))
    throw("on")
    switches().refresh(force=True)
    duty = Releaser(store())
    for _ in range(2):
        assert duty.tick() == LOOK
    assert caplog.text.count("jobs of tests.scheduling.test_releaser.ReleaseMeJob are held") == 1


def test_a_slice_is_followed_soon_by_the_next(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(KILL_SWITCH={"RELEASE_RATE": 10})
    hold(*map(job, range(50)))
    assert Releaser(store()).tick() == SLICE


def test_a_class_that_is_not_known_here_is_left_to_those_that_know_it(inside: Inside) -> None:
    """In a rolling deploy old workers cannot tell whether the switch of a new class is on."""
    key, name = store().keys, "shop.jobs.NewJob"
    new = Payload({"class": name, "args": [], "jid": "1" * 24, "queue": "low"}).encode()
    inside.client.zadd(key.held(name), {new: 1})
    inside.client.sadd(key.held_classes, name)
    assert Releaser(store()).tick() == LOOK
    assert inside.args("low") == []
    assert store().held.classes() == {name: 1}
