"""What Sidekiq's Ruby API does with our jobs: they move, to the byte, and there is one of each."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobqueue.payload import Payload, dump_json
from tests.interop.fleet import Fleet
from tests.interop.jobs import DjangoEcho, DjangoFailure, DjangoWait
from tests.interop.test_pushed_by_ruby import KINDS

#: Beyond these Ruby writes a float with an exponent, and each version in its own way.
PLAIN = (1e-4, 1e15)


def is_plain(number: float) -> bool:
    """Return whether every version of Ruby writes a float as we do."""
    return number == 0 or PLAIN[0] <= abs(number) < PLAIN[1]


#: Everything that JSON can say and both sides write alike.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False).filter(is_plain)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=40))
@settings(max_examples=60, deadline=None)
def test_ruby_writes_the_same_bytes(fleet: Fleet, args: list[Any]) -> None:
    """It reads an entry and writes it again to find it: with other bytes that is a second one."""
    text = dump_json(args)
    assert fleet.ruby("|text| Sidekiq.dump_json(Sidekiq.load_json(text))", text) == text


@pytest.mark.parametrize("number", [1e15, 1e16, 1e22, 1234567890123456.0, 1e-5, 5e-324])
def test_a_float_with_an_exponent_has_other_bytes_there_and_the_same_value(
    fleet: Fleet, number: float
) -> None:
    """No way of writing it pleases all: Ruby's own changed with its version of json."""
    assert not is_plain(number)
    text = dump_json([number])
    there = fleet.ruby("|text| Sidekiq.dump_json(Sidekiq.load_json(text))", text)
    assert there != text
    assert json.loads(there) == [number]


def alone(fleet: Fleet, jid: str, where: str) -> None:
    """Fail unless a job is in one place, once."""
    assert fleet.copies(jid) == {where: 1}


def failed(fleet: Fleet, *args: Any, retry: int = 5) -> str:
    """Let our worker fail at a job; return its jid once it waits for its retry, or is dead."""
    assert fleet.django.is_running
    jid = DjangoFailure.set(retry=retry).perform_async(*args)
    assert jid is not None
    sought = fleet.retries if retry else fleet.dead
    fleet.wait("a job that failed", lambda: sought.find(jid))
    return jid


@pytest.mark.parametrize("args", [KINDS[n] for n in (0, 1, 2, 4, 5)], ids=range(5))
def test_a_scheduled_job_is_rescheduled(at_home: Fleet, args: list[Any]) -> None:
    jid = DjangoEcho.perform_in(7200, *args)
    assert jid is not None
    before = at_home.scheduled.find(jid)
    assert before is not None
    later = time.time() + 9000
    at_home.ruby("|jid, at| Sidekiq::ScheduledSet.new.find_job(jid).reschedule(at)", jid, later)
    after = at_home.scheduled.find(jid)
    assert after is not None
    assert after.score == pytest.approx(later, abs=0.01)
    assert after.raw == before.raw
    alone(at_home, jid, "schedule")


@pytest.mark.parametrize(
    ("name", "key", "retry"), [("RetrySet", "retry", 5), ("DeadSet", "dead", 0)]
)
def test_a_job_that_failed_is_rescheduled(at_home: Fleet, name: str, key: str, retry: int) -> None:
    jid = failed(at_home, "<é>", retry=retry)
    later = time.time() + 9000
    at_home.ruby(f"|jid, at| Sidekiq::{name}.new.find_job(jid).reschedule(at)", jid, later)
    entry = (at_home.retries if retry else at_home.dead).find(jid)
    assert entry is not None
    assert entry.score == pytest.approx(later, abs=0.01)
    alone(at_home, jid, key)


def test_a_scheduled_job_goes_to_its_queue(at_home: Fleet) -> None:
    assert at_home.django.is_running
    jid = DjangoEcho.set(tags=["kept"]).perform_in(7200, {"to": "queue"})
    assert jid is not None
    assert at_home.ruby("|jid| Sidekiq::ScheduledSet.new.find_job(jid).add_to_queue", jid) == jid
    assert [note.args for note in at_home.await_notes(jid)] == [[{"to": "queue"}]]
    at_home.wait("its end", lambda: at_home.copies(jid) == {})


def test_what_it_puts_into_a_queue_keeps_all_fields(at_home: Fleet) -> None:
    jid = DjangoEcho.set(queue="unworked", tags=["kept"], expires_in=86400).perform_in(7200, 1.5)
    assert jid is not None
    before = at_home.scheduled.find(jid)
    assert before is not None
    at_home.ruby("|jid| Sidekiq::ScheduledSet.new.find_job(jid).add_to_queue", jid)
    (after,) = [each for each in at_home.queue("unworked") if each.jid == jid]
    assert dict(after.replace(enqueued_at=None).fields) == dict(before.fields)
    assert after.time("enqueued_at") == pytest.approx(time.time(), abs=600)
    alone(at_home, jid, "queue:unworked")


def test_a_retry_by_hand_spends_none(at_home: Fleet) -> None:
    jid = failed(at_home, "again")
    assert at_home.ruby("|jid| Sidekiq::RetrySet.new.find_job(jid).retry", jid) == jid
    at_home.await_notes(jid, 2)
    entry = at_home.wait("a job that failed", lambda: at_home.retries.find(jid))
    assert entry.retry_count == 0
    alone(at_home, jid, "retry")


def test_a_job_is_killed_and_revived(at_home: Fleet) -> None:
    jid = failed(at_home, "kill")
    before = at_home.retries.find(jid)
    assert before is not None
    at_home.ruby("|jid| Sidekiq::RetrySet.new.find_job(jid).kill", jid)
    after = at_home.dead.find(jid)
    assert after is not None
    assert after.raw == before.raw
    assert after.score == pytest.approx(time.time(), abs=600)
    alone(at_home, jid, "dead")
    at_home.ruby("|jid| Sidekiq::DeadSet.new.find_job(jid).retry", jid)
    at_home.await_notes(jid, 2)
    at_home.wait("a job that failed", lambda: at_home.retries.find(jid))
    alone(at_home, jid, "retry")


def test_jobs_are_deleted_from_every_place(at_home: Fleet) -> None:
    scheduled = DjangoEcho.perform_in(7200)
    queued = DjangoEcho.set(queue="unworked").perform_async(*KINDS[5])
    assert scheduled is not None
    assert queued is not None
    places = {
        scheduled: "Sidekiq::ScheduledSet.new",
        failed(at_home): "Sidekiq::RetrySet.new",
        failed(at_home, retry=0): "Sidekiq::DeadSet.new",
        queued: "Sidekiq::Queue.new('unworked')",
    }
    for jid, place in places.items():
        assert sum(at_home.copies(jid).values()) == 1, place
        assert at_home.ruby(f"|jid| {place}.find_job(jid).delete", jid), place
        assert at_home.copies(jid) == {}, place


def test_a_queue_is_cleared(at_home: Fleet) -> None:
    jids = DjangoEcho.set(queue="cleared").perform_bulk([(n,) for n in range(3)])
    assert len(at_home.queue("cleared")) == 3
    at_home.ruby("|| Sidekiq::Queue.new('cleared').clear")
    assert [at_home.copies(jid) for jid in jids if jid is not None] == [{}, {}, {}]


def test_its_poller_and_ours_move_each_job_once(at_home: Fleet) -> None:
    assert at_home.django.is_running
    assert at_home.sidekiq.is_running
    found = DjangoEcho.perform_bulk([(n,) for n in range(300)], at=time.time() + 1.5)
    jids = [jid for jid in found if jid is not None]

    def is_done() -> bool:
        at_home.ruby("|| Sidekiq::Scheduled::Enq.new.enqueue_jobs")
        return not any(entry.jid in wanted for entry in at_home.scheduled)

    wanted = set(jids)
    at_home.wait("due jobs", is_done)
    at_home.await_all(jids)
    at_home.wait("an empty queue", lambda: at_home.raw_queue("django") == [])
    runs = at_home.runs()
    assert [runs[jid] for jid in jids] == [1] * 300


def test_our_worker_obeys_its_buttons(at_home: Fleet, tmp_path: Path) -> None:
    worker, end = at_home.start_django("-q", "steered"), tmp_path / "end"
    identity = at_home.identity(worker)
    jid = DjangoWait.set(queue="steered").perform_async(str(end))
    at_home.await_notes(jid or "")
    found = "|identity| Sidekiq::ProcessSet.new.find { |p| p.identity == identity }"
    assert at_home.ruby(f"{found}.stopping?", identity) is False
    at_home.ruby(f"{found}.quiet!", identity)
    worker.wait_for_line("quiet: no more jobs are taken")
    assert at_home.ruby.post("/busy", identity=identity, stop="1").status == 302
    worker.wait_for_line("TERM came through Redis")
    assert at_home.ruby(f"{found}.stopping?", identity) is True
    # It ends with what it runs.
    end.touch()
    assert worker.wait() == 0
    assert at_home.ruby(f"{found}.nil?", identity)
    assert at_home.copies(jid or "") == {}


def test_an_entry_of_the_dead_set_is_made_there(at_home: Fleet) -> None:
    """``DeadSet#kill`` takes the bytes of any job, also one of ours that is in no set."""
    jid = DjangoEcho.set(queue="unworked").perform_async("dead")
    (raw,) = [raw for raw in at_home.raw_queue("unworked") if Payload.decode(raw).jid == jid]
    at_home.redis.lrem("queue:unworked", 1, raw.decode())
    at_home.ruby("|raw| Sidekiq::DeadSet.new.kill(raw)", raw.decode())
    assert jid is not None
    entry = at_home.dead.find(jid)
    assert entry is not None
    assert (entry.raw, entry.error_class) == (raw, "")
    # It never failed, and it may run.
    assert at_home.dead.find(jid).retry()  # type: ignore[union-attr]
    alone(at_home, jid, "queue:unworked")
