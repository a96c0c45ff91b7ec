"""What Sidekiq's client and worker wrote, as our API, commands and pages read and change it."""

from __future__ import annotations

import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_jobqueue.api import Process, Queue, WorkSet
from django_jobqueue.doctor import examine
from django_jobqueue.reports.overview import overview
from django_jobqueue.reports.processes import processes
from tests.interop.fleet import Fleet
from tests.support.processes import Process as Started


def failed(fleet: Fleet, *args: object, retry: int = 5) -> str:
    """Let Sidekiq push a job and fail at it; return its jid once it waits, or is dead."""
    assert fleet.sidekiq.is_running
    jid: str = fleet.ruby(
        "|retries, args| RubyFailure.set(retry: retries).perform_async(*args)", retry, list(args)
    )
    sought = fleet.retries if retry else fleet.dead
    fleet.wait("a job that failed", lambda: sought.find(jid))
    return jid


def process_of(fleet: Fleet, worker: Started) -> Process:
    """Return what our API knows of a worker."""
    found = fleet.processes.get(fleet.identity(worker))
    assert found is not None
    return found


# Jobs ------------------------------------------------------------------------------


def test_a_retry_by_hand_spends_none(at_home: Fleet) -> None:
    jid = failed(at_home, "again")
    entry = at_home.retries.find(jid)
    assert entry is not None
    assert entry.retry()
    at_home.await_notes(jid, 2)
    again = at_home.wait("a job that failed", lambda: at_home.retries.find(jid))
    assert again.retry_count == 0
    assert again.failed_at == entry.failed_at
    assert at_home.copies(jid) == {"retry": 1}


def test_a_job_is_rescheduled_killed_and_revived(at_home: Fleet) -> None:
    jid = failed(at_home, {"x": [1.5, None]})
    entry = at_home.retries.find(jid)
    assert entry is not None
    assert entry.reschedule(timedelta(hours=5))
    moved = at_home.retries.find(jid)
    assert moved is not None
    assert moved.score == pytest.approx(time.time() + 5 * 3600, abs=600)
    assert moved.raw == entry.raw
    assert moved.kill()
    dead = at_home.dead.find(jid)
    assert dead is not None
    # Its error stays; Ruby wrote the bytes, and ours are the same.
    assert dead.raw == entry.raw
    assert at_home.copies(jid) == {"dead": 1}
    assert dead.retry()
    at_home.await_notes(jid, 2)
    at_home.wait("a job that failed", lambda: at_home.retries.find(jid))


def test_jobs_are_deleted_from_every_place(at_home: Fleet) -> None:
    queued = at_home.ruby("|| RubyEcho.set(queue: 'unworked').perform_async(1)")
    scheduled = at_home.ruby("|| RubyEcho.perform_in(7200)")
    queue = Queue("unworked", store=at_home.store)
    for jid, place in (
        (queued, queue),
        (scheduled, at_home.scheduled),
        (failed(at_home), at_home.retries),
        (failed(at_home, retry=0), at_home.dead),
    ):
        entry = place.find(jid)
        assert entry is not None, place
        assert entry.created_at is not None
        assert entry.created_at.timestamp() == pytest.approx(time.time(), abs=600)
        assert entry.delete(), place
        assert at_home.copies(jid) == {}, place


def test_a_scheduled_job_goes_to_its_queue(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    jid = at_home.ruby("|| RubyEcho.perform_in(7200, 'now')")
    entry = at_home.scheduled.find(jid)
    assert entry is not None
    assert entry.enqueue_now()
    assert [note.args for note in at_home.await_notes(jid)] == [["now"]]


def test_a_job_is_pushed_by_a_name_that_is_no_class_there(at_home: Fleet) -> None:
    jid = at_home.ruby(
        "|| Sidekiq::Client.push("
        "'class' => 'tests.jobsite.jobs.NoopJob', 'args' => [], 'queue' => 'unworked')"
    )
    queue = Queue("unworked", store=at_home.store)
    entry = queue.find(jid)
    assert entry is not None
    assert (entry.job_class, entry.args) == ("tests.jobsite.jobs.NoopJob", [])
    assert 0 <= queue.latency < 600
    assert entry.kill()
    assert at_home.dead.find(jid).error_class == "JobKilled"  # type: ignore[union-attr]


# Processes ---------------------------------------------------------------------------


def test_its_process_is_one_of_ours_in_all_but_the_lease(at_home: Fleet) -> None:
    process = process_of(at_home, at_home.sidekiq)
    assert (process.hostname, process.pid) == (socket.gethostname(), at_home.sidekiq.pid)
    assert (process.queues, process.concurrency, process.labels) == (["ruby"], 2, [])
    assert process.weights == {}
    assert (process.is_quiet, process.embedded, process.version) == (False, False, "")
    assert process.started_at is not None
    assert process.beat is not None
    assert process.beat.timestamp() == pytest.approx(time.time(), abs=600)
    assert 1_000_000 < process.rss < 10_000_000_000
    assert 0 < process.rtt < 60
    assert process.lease is None
    assert process.identity not in at_home.processes.leases()


def test_what_it_runs(at_home: Fleet, tmp_path: Path) -> None:
    process = process_of(at_home, at_home.sidekiq)
    end = tmp_path / "end"
    jid = at_home.ruby("|path| RubyWait.perform_async(path)", str(end))
    at_home.await_notes(jid)
    key = f"{process.identity}:workers"  # the name before 6.5
    at_home.await_work(key, jid)
    at_home.wait("a busy process", lambda: process_of(at_home, at_home.sidekiq).busy >= 1)
    at_home.redis.copy(key, f"{process.identity}:work")
    try:
        work = WorkSet(store=at_home.store).find(jid)
    finally:
        at_home.redis.delete(f"{process.identity}:work")
        end.touch()
    assert work is not None
    assert (work.process, work.queue, work.job.args) == (process.identity, "ruby", [str(end)])
    assert work.run_at is not None
    assert work.run_at.timestamp() == pytest.approx(time.time(), abs=600)


def test_its_worker_obeys_our_api(at_home: Fleet) -> None:
    worker = at_home.start_sidekiq("steered")
    process = process_of(at_home, worker)
    assert process.quiet()
    at_home.wait("its record", lambda: process_of(at_home, worker).is_quiet)
    assert process.stop()
    assert worker.wait() == 0
    at_home.wait("its end", lambda: process.identity not in [p.identity for p in at_home.processes])


def test_what_ran_in_a_ruby_process_that_is_killed_is_lost_and_we_touch_nothing(
    at_home: Fleet,
) -> None:
    """Sidekiq pops a job before it runs it: after kill -9 nobody has it, and we cannot know it."""
    assert at_home.django.is_running
    worker = at_home.start_sidekiq("killed")
    identity = at_home.identity(worker)
    jid = at_home.ruby("|| RubyWait.set(queue: 'killed').perform_async('/nowhere/that/is')")
    at_home.await_notes(jid)
    assert at_home.copies(jid) == {}
    worker.signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    assert at_home.copies(jid) == {}
    # Its record stays for a minute, and then both sides take it off the list.
    assert process_of(at_home, worker).identity == identity
    at_home.redis.delete(identity)
    at_home.processes.cleanup()
    assert not at_home.redis.sismember("processes", identity)
    assert at_home.identity(at_home.django)  # and those who live stay there


def test_its_cleanup_takes_nothing_that_we_need(at_home: Fleet) -> None:
    worker = at_home.django
    identity = at_home.identity(worker)

    def is_pruned() -> bool:
        # As if our record had run out, and Sidekiq's Web had looked just then; a beat may come.
        at_home.redis.delete(identity)
        at_home.ruby("|| Sidekiq::ProcessSet.new(false).cleanup")
        return not at_home.redis.sismember("processes", identity)

    at_home.wait("the prune", is_pruned)
    assert identity in at_home.processes.leases()
    jid = at_home.ruby("|| DjangoEcho.perform_async('still here')")
    at_home.await_notes(jid)
    # With its next beat it is on the list again.
    assert at_home.identity(worker) == identity


# Reports and pages ---------------------------------------------------------------------


@pytest.mark.page
@pytest.mark.django_db
def test_reports_and_pages_show_both_sides(at_home: Fleet, client: Client, tmp_path: Path) -> None:
    theirs, ours = at_home.identity(at_home.sidekiq), at_home.identity(at_home.django)
    jid = failed(at_home, "shown")
    end = tmp_path / "end"
    at_home.await_notes(at_home.ruby("|path| RubyWait.perform_async(path)", str(end)))

    told = overview(store=at_home.store)
    assert told.broken == ()
    assert told.retries >= 1
    assert told.concurrency >= 12
    facts = {each.identity: each for each in processes(store=at_home.store).processes}
    assert facts.keys() >= {theirs, ours}
    assert facts[theirs].lease is None
    assert facts[ours].lease is not None
    # Whoever examines it finds nothing wrong with what Sidekiq writes, and leaves behind.
    found = {finding.id for finding in examine(at_home.store)}
    assert not found & {
        "wrong-type", "unlisted-queue", "lease-over", "claims-without-lease", "process-clock",
    }  # fmt: skip
    client.force_login(User.objects.create_superuser("root"))
    for name in ("overview", "busy", "queues", "retries", "scheduled", "dead", "errors"):
        page = client.get(reverse(f"admin:jobqueue_{name}"))
        assert page.status_code == 200, name
        if name == "busy":
            assert theirs in page.content.decode()
            assert ours in page.content.decode()
        if name == "retries":
            assert jid in page.content.decode()
    end.touch()
