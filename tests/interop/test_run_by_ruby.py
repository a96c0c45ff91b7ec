"""Jobs of ours that Sidekiq's worker runs, and what it makes of them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_jobqueue.api import Queue
from django_jobqueue.conf import get_settings
from django_jobqueue.payload import Payload
from tests.interop.fleet import Fleet
from tests.interop.jobs import DjangoOnly, RubyEcho, RubyFailure, RubyUnique
from tests.interop.test_pushed_by_ruby import KINDS


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
@pytest.mark.parametrize("args", KINDS, ids=range(len(KINDS)))
def test_arguments_of_every_kind_come_as_they_were(
    at_home: Fleet, settings: Any, args: list[Any], unit: str
) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "TIMESTAMPS": unit}
    assert at_home.sidekiq.is_running
    jid = RubyEcho.perform_async(*args)
    assert jid is not None
    (note,) = at_home.await_notes(jid)
    assert (note.by, repr(note.args)) == ("ruby", repr(args))


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_delays_and_times_are_kept(at_home: Fleet, settings: Any, unit: str) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "TIMESTAMPS": unit}
    assert at_home.sidekiq.is_running
    before = time.time()
    jids = [
        RubyEcho.perform_in(1.5, "in"),
        RubyEcho.perform_at(before + 1.5, "at"),
        RubyEcho.set(wait=1.5).perform_async("set"),
    ]
    far = RubyEcho.perform_in(3600, "far")
    assert far is not None
    entry = at_home.ruby(
        "|jid| j = Sidekiq::ScheduledSet.new.find_job(jid); [j.at, j.klass, j.args, j.queue]", far
    )
    assert entry == [pytest.approx(before + 3600, abs=600), "RubyEcho", ["far"], "ruby"]
    due = [jid for jid in jids if jid is not None]

    def promoted() -> bool:
        # What its poller calls every few seconds; where one of ours runs too, the faster does it.
        at_home.ruby("|| Sidekiq::Scheduled::Enq.new.enqueue_jobs(['schedule'])")
        return {note.jid for jid in due for note in at_home.notes(jid)} == set(due)

    at_home.wait("the due jobs", promoted)
    assert time.time() >= before + 1.5
    assert [[note.args for note in at_home.notes(jid)] for jid in due] == [
        [["in"]], [["at"]], [["set"]],
    ]  # fmt: skip
    assert at_home.ruby("|jid| Sidekiq::ScheduledSet.new.find_job(jid).delete", far)
    assert at_home.copies(far) == {}


def test_many_at_once(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    found = RubyEcho.perform_bulk([(number,) for number in range(1500)])
    jids = [jid for jid in found if jid is not None]
    assert [note.args for note in at_home.await_all(jids)] == [[n] for n in range(1500)]


def test_options_of_one_call_are_obeyed(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    jid = RubyFailure.set(retry=0, tags=["one"], queue="ruby").perform_async("x")
    assert jid is not None
    at_home.await_notes(jid)
    # Without retries it is dead at once.
    entry = at_home.wait("a dead job", lambda: at_home.dead.find(jid))
    assert (entry.error_class, entry.tags, entry.retry_count) == ("ArgumentError", ["one"], 0)
    assert entry.at is not None
    assert entry.at.timestamp() == pytest.approx(time.time(), abs=600)
    untouched = RubyFailure.set(retry=False).perform_async("y")
    assert untouched is not None
    at_home.await_notes(untouched)
    at_home.wait("its end", lambda: at_home.copies(untouched) == {})


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_what_fails_there_is_read_here(at_home: Fleet, settings: Any, unit: str) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "TIMESTAMPS": unit}
    assert at_home.sidekiq.is_running
    before = time.time()
    jid = RubyFailure.set(tags=["one", "two"]).perform_async({"a": [1, None]})
    assert jid is not None
    entry = at_home.wait("a retry", lambda: at_home.retries.find(jid))
    assert entry.job_class == entry.display_class == "RubyFailure"
    assert entry.args == [{"a": [1, None]}]
    assert (entry.queue, entry.tags, entry.retry_count) == ("ruby", ["one", "two"], 0)
    assert entry.error_class == "ArgumentError"
    assert entry.error_message == "Ruby's fails by design: <é>"
    assert "jobs.rb" in entry.error_backtrace[0]
    assert entry.at is not None
    assert entry.at.timestamp() == pytest.approx(before + 3600, abs=600)
    for when in (entry.created_at, entry.enqueued_at, entry.failed_at):
        assert when is not None
        assert when.timestamp() == pytest.approx(before, abs=600)
    assert entry.retried_at is None
    assert entry.latency == pytest.approx(time.time() - before, abs=600)
    assert entry.delete()


def test_what_fails_there_again_was_retried(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    jid = RubyFailure.set(retry=1).perform_async("twice")
    assert jid is not None
    first = at_home.wait("a retry", lambda: at_home.retries.find(jid))
    # Our hand lets it go on, their worker counts.
    assert first.enqueue_now()
    last = at_home.wait("a dead job", lambda: at_home.dead.find(jid))
    assert (last.retry_count, len(at_home.notes(jid))) == (1, 2)
    assert last.failed_at == first.failed_at
    assert last.retried_at is not None
    assert last.retried_at.timestamp() == pytest.approx(time.time(), abs=600)
    assert at_home.copies(jid) == {"dead": 1}


def test_fields_that_only_we_know_survive_its_moves(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    pushed = RubyUnique.enqueue("once", 7)
    assert pushed.jid is not None
    assert RubyUnique.enqueue("once", 7).existing_jid == pushed.jid
    failed = at_home.wait("a retry", lambda: at_home.retries.find(pushed.jid or ""))
    assert failed.unique_digest is not None
    assert failed.payload is not None
    assert failed.payload.unique_for == 3600
    # Killed there: their dead set has all of it, and the lock is still its own.
    assert at_home.ruby("|jid| Sidekiq::RetrySet.new.find_job(jid).kill", pushed.jid)
    dead = at_home.dead.find(pushed.jid)
    assert dead is not None
    assert dead.raw == failed.raw
    assert dead.lock_owner() == pushed.jid
    # We give it back with the last of the job.
    assert dead.delete()
    assert RubyUnique.enqueue("once", 7).jid is not None


def test_a_lock_outlives_the_job_that_ruby_has_done(at_home: Fleet) -> None:
    """Sidekiq knows nothing of our locks: what it ends keeps one until its time is over."""
    assert at_home.sidekiq.is_running
    job = RubyEcho.set(unique_for=3600)
    done = job.enqueue("done, and locked")
    assert done.jid is not None
    at_home.await_notes(done.jid)
    assert at_home.copies(done.jid) == {}
    assert job.enqueue("done, and locked").existing_jid == done.jid


def test_a_class_that_ruby_has_not_fails_there(at_home: Fleet) -> None:
    assert at_home.sidekiq.is_running
    jid = DjangoOnly.perform_async(1)
    assert jid is not None
    entry = at_home.wait("a retry", lambda: at_home.retries.find(jid))
    assert (entry.error_class, entry.retry_count, entry.args) == ("NameError", 0, [1])
    assert entry.delete()


def test_its_worker_knows_no_pause_without_pro(at_home: Fleet) -> None:
    worker, queue = at_home.start_sidekiq("paused"), Queue("paused", store=at_home.store)
    at_home.identity(worker)
    queue.pause()
    jid = RubyEcho.set(queue="paused").perform_async("all the same")
    at_home.await_notes(jid or "")
    queue.resume()


def test_the_dead_set_has_the_same_bounds_on_both_sides(at_home: Fleet) -> None:
    ours = get_settings()
    assert at_home.ruby("|| [Sidekiq::DeadSet.max_jobs, Sidekiq::DeadSet.timeout]") == [
        ours.dead_max_entries,
        ours.dead_max_age,
    ]


def test_its_worker_gives_back_what_a_stop_cuts_off(at_home: Fleet) -> None:
    """Four seconds after SIGTERM it pushes what still runs, in the bytes that we wrote."""
    worker = at_home.start_sidekiq("short")
    jid = at_home.ruby("|| RubyWait.set(queue: 'short').perform_async('/nowhere/that/is')")
    at_home.await_notes(jid)
    worker.term()
    worker.wait()
    (raw,) = at_home.raw_queue("short")
    assert Payload.decode(raw).jid == jid
