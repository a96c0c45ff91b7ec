"""What we wrote, as Sidekiq's Ruby API reads it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from django_jobqueue.api import Stats
from tests.interop.fleet import SOON, Fleet
from tests.interop.jobs import DjangoEcho, DjangoFailure, DjangoWait
from tests.support.polling import wait_until

#: What its API says of a job, wherever it is.
RECORD = """
  {jid: job.jid, klass: job.klass, display_class: job.display_class, args: job.args,
   display_args: job.display_args, queue: job.queue, tags: job.tags, latency: job.latency,
   created_at: job.created_at, enqueued_at: job.enqueued_at, retry: job["retry"]}
"""

#: And of one in a sorted set.
ENTRY = f"""
  {RECORD.strip()[:-1]},
   at: job.at, score: job.score, error_class: job["error_class"],
   error_message: job["error_message"], error_backtrace: job.error_backtrace,
   error: job.error?, count: job["retry_count"],
   failed_at: job["failed_at"] && Time.at(job["failed_at"]),
   retried_at: job["retried_at"] && Time.at(job["retried_at"])}}
"""


def entry_of(fleet: Fleet, kind: str, jid: str) -> dict[str, Any] | None:
    """Return what its API says of an entry of ``ScheduledSet``, ``RetrySet`` or ``DeadSet``."""
    found: dict[str, Any] | None = fleet.ruby(
        f"|jid| job = Sidekiq::{kind}.new.find_job(jid) and {ENTRY}", jid
    )
    return found


def near(moment: float) -> Any:
    """Return what equals epoch seconds: minutes off on a busy machine, and no thousand times."""
    return pytest.approx(moment, abs=600)


def test_a_queue(at_home: Fleet) -> None:
    job = DjangoEcho.set(queue="shown", tags=["a", "b"])
    now = time.time()
    first, second = (job.perform_async(n, {"k": [None]}) for n in (1, 2))
    found = at_home.ruby(f"|name| Sidekiq::Queue.new(name).map {{ |job| {RECORD} }}", "shown")
    assert [each["jid"] for each in found] == [second, first]
    assert found[1] == {
        "jid": first,
        "klass": "DjangoEcho",
        "display_class": "DjangoEcho",
        "args": [1, {"k": [None]}],
        "display_args": [1, {"k": [None]}],
        "queue": "shown",
        "tags": ["a", "b"],
        "latency": pytest.approx(0, abs=600),
        "created_at": near(now),
        "enqueued_at": near(now),
        "retry": True,
    }
    size, latency, jid, named, lengths = at_home.ruby(
        "|name, jid| q = Sidekiq::Queue.new(name); "
        "[q.size, q.latency, q.find_job(jid).jid, Sidekiq::Queue.all.map(&:name), "
        "Sidekiq::Stats::Queues.new.lengths]",
        "shown",
        first,
    )
    assert (size, jid, lengths["shown"]) == (2, first, 2)
    assert 0 <= latency < 600
    assert "shown" in named


def test_milliseconds_are_far_away_for_it(at_home: Fleet, settings: Any) -> None:
    """Sidekiq reads them from version 8 on. Older ones see another year, and run the job."""
    settings.JOBQUEUE = {**settings.JOBQUEUE, "TIMESTAMPS": "milliseconds"}
    jid = DjangoEcho.set(queue="far").perform_async()
    ((found, created_at, latency),) = at_home.ruby(
        "|| Sidekiq::Queue.new('far').map { |job| [job.jid, job.created_at, job.latency] }"
    )
    assert found == jid
    assert created_at == pytest.approx(time.time() * 1000, rel=0.01)
    assert latency < -1e9


def test_a_scheduled_job(at_home: Fleet) -> None:
    now = time.time()
    jid = DjangoEcho.set(tags=["later"]).perform_at(now + 7200, "far")
    assert jid is not None
    found = entry_of(at_home, "ScheduledSet", jid)
    assert found is not None
    assert (found["klass"], found["args"], found["tags"]) == ("DjangoEcho", ["far"], ["later"])
    assert (found["at"], found["created_at"]) == (near(now + 7200), near(now))
    assert found["enqueued_at"] is None
    assert found["error"] is False


def test_a_job_that_failed_once_and_again(at_home: Fleet) -> None:
    assert at_home.django.is_running
    now = time.time()
    jid = DjangoFailure.perform_async("a", 1)
    assert jid is not None
    found = at_home.wait("a retry", lambda: entry_of(at_home, "RetrySet", jid))
    assert (found["klass"], found["args"], found["queue"]) == ("DjangoFailure", ["a", 1], "django")
    assert found["tags"] == ["interop", "fails <b>"]
    assert (found["error"], found["error_class"]) == (True, "ValueError")
    assert found["error_message"] == "Django's fails by design: <é>"
    assert "raise ValueError(\"Django's fails" in "\n".join(found["error_backtrace"])
    assert (found["created_at"], found["failed_at"]) == (near(now), near(now))
    assert found["enqueued_at"] is None  # it is in no queue; Sidekiq would leave the last time
    assert (found["count"], found["retried_at"]) == (0, None)
    assert found["at"] == near(now + 3600)
    # Once more, for what is written then.
    assert at_home.retries.find(jid).enqueue_now()  # type: ignore[union-attr]
    at_home.await_notes(jid, 2)
    found = at_home.wait("another retry", lambda: entry_of(at_home, "RetrySet", jid))
    assert (found["count"], found["retried_at"], found["failed_at"]) == (1, near(now), near(now))
    assert found["at"] == near(now + 3600)


def test_a_dead_job(at_home: Fleet) -> None:
    assert at_home.django.is_running
    now = time.time()
    jid = DjangoFailure.set(retry=0).perform_async("dead")
    assert jid is not None
    found = at_home.wait("a dead job", lambda: entry_of(at_home, "DeadSet", jid))
    assert (found["error_class"], found["args"]) == ("ValueError", ["dead"])
    assert (found["at"], found["failed_at"], found["count"]) == (near(now), near(now), 0)


def test_a_process(at_home: Fleet) -> None:
    worker = at_home.django
    identity = at_home.identity(worker)
    found = at_home.ruby(
        "|identity| p = Sidekiq::ProcessSet.new.find { |each| each.identity == identity }; "
        "{tag: p.tag, labels: p.labels, queues: p.queues, stopping: p.stopping?, pid: p['pid'], "
        "hostname: p['hostname'], concurrency: p['concurrency'], busy: p['busy'], "
        "beat: Time.at(p['beat']), started_at: Time.at(p['started_at']), rss: p['rss'], "
        "rtt: p['rtt_us']}",
        identity,
    )
    assert found == {
        "tag": "",
        "labels": [],
        "queues": ["django"],
        "stopping": False,
        "pid": int(identity.split(":")[1]),
        "hostname": socket.gethostname(),
        "concurrency": 10,
        "busy": found["busy"],
        "beat": near(time.time()),
        "started_at": pytest.approx(time.time(), abs=86_400),  # with the first of these tests
        "rss": found["rss"],
        "rtt": found["rtt"],
    }
    assert 0 <= found["busy"] <= 10
    assert 10_000 < found["rss"] < 10_000_000
    assert 0 < found["rtt"] < 60_000_000
    threads, size = at_home.ruby(
        "|| set = Sidekiq::ProcessSet.new; [set.total_concurrency, set.size]"
    )
    assert threads >= 10
    assert size >= 1


def test_what_runs(at_home: Fleet, tmp_path: Path) -> None:
    worker = at_home.django
    identity = at_home.identity(worker)
    now, end = time.time(), tmp_path / "end"
    jid = DjangoWait.perform_async(str(end))
    assert jid is not None
    at_home.await_notes(jid)
    busy = "|identity| Sidekiq::ProcessSet.new.find { |p| p.identity == identity }['busy']"
    at_home.await_work(f"{identity}:work", jid)
    at_home.wait("a busy process", lambda: at_home.ruby(busy, identity) >= 1)
    assert at_home.ruby("|| Sidekiq::WorkSet.new.size") >= 1
    # The same hash under its name before Sidekiq 6.5.
    at_home.redis.copy(f"{identity}:work", f"{identity}:workers")
    try:
        (found,) = at_home.ruby(
            "|identity| Sidekiq::WorkSet.new.select { |process, _, _| process == identity }",
            identity,
        )
    finally:
        at_home.redis.delete(f"{identity}:workers")
        end.touch()
    assert found[0] == identity
    assert found[2]["queue"] == "django"
    assert found[2]["run_at"] == near(now)
    assert type(found[2]["run_at"]) is int
    assert (found[2]["payload"]["jid"], found[2]["payload"]["args"]) == (jid, [str(end)])


def test_the_counters(at_home: Fleet) -> None:
    assert at_home.django.is_running
    stats = """||
      s, h = Sidekiq::Stats.new, Sidekiq::Stats::History.new(2)
      [[s.processed, s.failed],
       [s.scheduled_size, s.retry_size, s.dead_size, s.enqueued, s.queues],
       h.processed.to_h { |day, n| [day.to_s, n] }, h.failed.to_h { |day, n| [day.to_s, n] }]
    """
    (processed, failed), *_ = at_home.ruby(stats)
    for number in range(20):
        DjangoEcho.perform_async(number)
    jid = DjangoFailure.set(retry=False).perform_async("counted")
    assert jid is not None

    def same() -> bool:
        # Until both read the same: Sidekiq's worker writes its figures with each beat.
        totals, sizes, done_by_day, failed_by_day = at_home.ruby(stats)
        ours = Stats(days=2, store=at_home.store)
        return (
            bool(totals[0] >= processed + 21 and totals[1] >= failed + 1)
            and totals == [ours.processed, ours.failed]
            and sizes == [ours.scheduled, ours.retries, ours.dead, ours.enqueued, ours.queues]
            and done_by_day == {str(day.day): day.processed for day in ours.days}
            and failed_by_day == {str(day.day): day.failed for day in ours.days}
            # All that was ever done was done today, or before the last midnight.
            and sum(done_by_day.values()) == totals[0]
        )

    wait_until(same, SOON, lambda: f"one count for both: {at_home.ruby(stats)}")
