"""What the doctor says of keys, processes, queues and locks."""

from __future__ import annotations

import json

import pytest

from django_jobqueue import clock
from django_jobqueue.connection import store
from django_jobqueue.doctor import Level
from django_jobqueue.payload import stamp
from tests.api.samples import enqueue, jid_of, lock, payload, put
from tests.conftest import JobqueueSettings
from tests.doctor.conftest import OURS, ago, found, work
from tests.support.inside import Inside

OTHER = "host-2:9:ba9876543210"


# Keys ---------------------------------------------------------------------------


def test_keys_of_a_wrong_type_are_told_wherever_they_are(inside: Inside) -> None:
    work("low")
    enqueue(payload(1))
    for name in ("queue:bad", f"{OURS}:work", "jq:held:bad", f"jq:claims:{OURS}"):
        inside.client.delete(inside.key(name))
        inside.client.set(inside.key(name), "x")
    inside.client.sadd(inside.key("queues"), "bad")
    inside.client.sadd(inside.key("jq:held"), "bad")
    finding = found("wrong-type")
    assert finding is not None
    assert finding.is_fault
    assert "1 more" in finding.fact
    assert inside.key("jq:held:bad") in finding.fact


def test_a_queue_that_is_on_no_list_is_told(inside: Inside) -> None:
    enqueue(payload(1))
    assert found("unlisted-queue") is None
    inside.client.srem(inside.key("queues"), "low")
    finding = found("unlisted-queue")
    assert finding is not None
    assert finding.fact.endswith(": low.")


def test_a_full_dead_set_is_told(inside: Inside, jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(DEAD_MAX_ENTRIES=2)
    put(inside, "dead", payload(1))
    assert found("dead-full") is None
    put(inside, "dead", payload(2), first=101)
    finding = found("dead-full")
    assert finding is not None
    assert finding.level is Level.WARNING


def test_a_missing_marker_is_told() -> None:
    assert found("no-epoch") is not None
    store().epoch.begin("e")
    assert found("no-epoch") is None


# Processes ------------------------------------------------------------------------


def test_that_nobody_works_is_a_fault_where_something_waits(inside: Inside) -> None:
    idle = found("no-process")
    assert idle is not None
    assert idle.level is Level.WARNING
    put(inside, "schedule", payload(1))
    late = found("no-process")
    assert late is not None
    assert late.is_fault
    enqueue(payload(2))
    both = found("no-process")
    assert both is not None
    assert "2 jobs wait" in both.fact
    work("low")
    assert found("no-process") is None


def test_a_process_that_fell_silent_is_noted_while_its_lease_lasts() -> None:
    work("low")
    assert found("silent-process") is None
    store().claims.join(OTHER, 60)
    finding = found("silent-process")
    assert finding is not None
    assert finding.level is Level.NOTE
    assert OTHER in finding.fact


def test_claims_that_nobody_takes_back_are_a_fault(inside: Inside) -> None:
    work("low")
    enqueue(payload(1), payload(2))
    store().claims.step(OTHER, lease=60, batch="b", wanted=2, queues=["low"])
    assert found("lease-over") is None
    # A while ago, and longer ago than anybody needs to take them back.
    for past, is_told in ((60, False), (1000, True)):
        inside.client.zadd(inside.key("jq:leases"), {OTHER: (store().checkup.time() - past) * 1000})
        finding = found("lease-over")
        assert (finding is not None) is is_told
    assert finding is not None
    assert finding.is_fault
    assert "2 jobs" in finding.fact
    inside.client.delete(inside.key(f"jq:claims:{OTHER}"))
    assert found("lease-over") is None


def test_claims_without_a_lease_are_a_fault(inside: Inside) -> None:
    inside.client.hset(inside.key(f"jq:claims:{OTHER}"), "suspect", "b:1:low")
    assert found("claims-without-lease") is None
    inside.client.hset(inside.key(f"jq:claims:{OTHER}"), "b:1:low", payload(1).encode())
    finding = found("claims-without-lease")
    assert finding is not None
    assert OTHER in finding.fact
    store().claims.adopt(OTHER, 60)
    assert found("claims-without-lease") is None


def test_clocks_that_go_wrong_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = store().checkup.time()
    work("low")
    work("low", identity="ahead:1:0123456789ab", beat=now + 60)
    work("low", identity="behind:1:0123456789ab", beat=now - 600)
    finding = found("process-clock")
    assert finding is not None
    assert finding.fact.endswith(": ahead, behind.")
    assert found("clock") is None
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 100)
    assert found("clock") is not None


# What waits -----------------------------------------------------------------------


def test_a_queue_that_nobody_works_is_a_fault_once_it_is_late() -> None:
    work("high")
    enqueue(payload(1, enqueued_at=stamp()))
    young = found("unworked-queue")
    assert young is not None
    assert young.level is Level.WARNING
    enqueue(payload(2, enqueued_at=stamp(ago(600))), queue="mail")
    late = found("unworked-queue")
    assert late is not None
    assert late.is_fault
    assert "low, mail; the oldest for 10 min" in late.fact


def test_a_queue_of_quiet_processes_is_a_fault_once_it_is_late(inside: Inside) -> None:
    work("low")
    enqueue(payload(1, enqueued_at=stamp()))
    assert found("quiet-queue") is None
    inside.client.hset(inside.key(OURS), "quiet", "true")
    young = found("quiet-queue")
    assert young is not None
    assert young.level is Level.WARNING
    inside.client.hset(inside.key(OURS), "info", '{"queues": ["low", "mail"]}')
    enqueue(payload(2, enqueued_at=stamp(ago(600))), queue="mail")
    work("high", identity=OTHER)
    late = found("quiet-queue")
    assert late is not None
    assert late.is_fault
    assert "low, mail; the oldest for 10 min" in late.fact
    assert found("unworked-queue") is None


def test_a_paused_queue_is_told_where_something_waits() -> None:
    work("low")
    store().queues.pause("low")
    assert found("paused-queue") is None
    enqueue(payload(1), payload(2))
    finding = found("paused-queue")
    assert finding is not None
    assert finding.level is Level.WARNING
    assert "2 jobs" in finding.fact
    assert found("unworked-queue") is None


def test_due_jobs_that_stay_are_a_fault(inside: Inside) -> None:
    work("low")
    now = store().checkup.time()
    put(inside, "schedule", payload(1), first=now - 30)
    put(inside, "retry", payload(2), first=now + 600)
    assert found("overdue") is None
    put(inside, "retry", payload(3), first=now - 600)
    finding = found("overdue")
    assert finding is not None
    assert finding.is_fault
    assert "retry; the first was due 10 min ago" in finding.fact


# Locks ----------------------------------------------------------------------------


def test_locks_whose_job_is_nowhere_are_told(inside: Inside) -> None:
    work("low")
    enqueue(payload(1, once=True))
    put(inside, "schedule", payload(2, once=True), first=clock.now() + 600)
    assert found("lost-lock") is None
    lost = payload(3, once=True)
    lock([lost])
    finding = found("lost-lock")
    assert finding is not None
    assert finding.level is Level.WARNING
    assert str(lost.unique_digest) in finding.fact
    assert found("endless-lock") is None


def test_a_lock_without_an_end_and_without_a_job_is_a_fault(inside: Inside) -> None:
    held = payload(1, once=True)
    digest = str(held.unique_digest)
    inside.client.set(inside.key(f"jq:unique:{digest}"), jid_of(1))
    finding = found("endless-lock")
    assert finding is not None
    assert finding.is_fault
    inside.client.zadd(inside.key(f"jq:held:{held.job_class}"), {held.encode(): 1.0})
    inside.client.sadd(inside.key("jq:held"), held.job_class)
    assert found("endless-lock") is None


def test_names_of_others_are_told_as_text(inside: Inside) -> None:
    name = "a\x1b[31m\n" + "b" * 500
    inside.client.lpush(inside.key(f"queue:{name}"), json.dumps({}))
    finding = found("unlisted-queue")
    assert finding is not None
    assert finding.fact.isprintable()
    assert len(finding.fact) < 300
