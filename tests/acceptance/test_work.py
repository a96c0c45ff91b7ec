"""The ordinary day: jobs whose time comes, queues in their order, and bursts that end."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest

from tests.acceptance.site import SOON, Site, count_lines, payload, tell
from tests.jobsite.jobs import FailJob, ForkJob, NoopJob, SleepJob, SnoozeJob, SubprocessJob
from tests.support.polling import wait_until

# In time ----------------------------------------------------------------------------


def test_due_jobs_start_within_about_a_second_of_their_time(site: Site) -> None:
    # Two, so that one of them leads and the other one must not disturb.
    for _ in range(2):
        site.run_ready("--concurrency", "5")
    began = time.time()
    due = {f"due{number}": began + 0.7 + 0.35 * number for number in range(12)}
    for number, (ident, at) in enumerate(due.items()):
        if number % 2:
            site.schedule(at, NoopJob, ident)
        else:
            retried = payload(NoopJob, ident, retry_count=0, enqueued_at=None)
            site.redis.zadd(site.keys.retry, {retried.encode(): at})
    late = []
    for ident, at in due.items():
        site.await_started(ident)
        late.append(time.time() - at)
    tell(f"started {min(late):.3f} to {max(late):.3f} s after their time")
    assert min(late) >= 0
    # Promised is a second; the rest is for a busy machine.
    assert max(late) < 1 + 5
    site.await_settled()
    assert not any(site.doubles())
    assert site.entries("schedule") == site.entries("retry") == []


def test_a_failed_job_is_tried_again_and_a_snoozed_one_runs_later(site: Site) -> None:
    site.run_ready()
    failing = site.push(FailJob, "fails", "ValueError", retry=3)
    snoozing = site.push(SnoozeJob, "snoozes", 0.2)
    wait_until(lambda: site.journal.starts["snoozes"] >= 3, SOON, "some snoozes")
    wait_until(lambda: site.entries("retry"), SOON, "the failure")

    def started(ident: str, times: int) -> bool:
        return site.journal.starts[ident] == times

    for attempt in range(3):
        (waiting,) = site.entries("retry")
        assert waiting.jid == failing.jid
        assert waiting.retry_count == attempt
        site.redis.zadd(site.keys.retry, {waiting.encode(): time.time()})  # its time has come
        wait_until(partial(started, "fails", attempt + 2), SOON, "a retry")
        wait_until(lambda: site.entries("retry") or site.entries("dead"), SOON, "a failure")
    (dead,) = site.entries("dead")
    assert (dead.jid, dead.retry_count) == (failing.jid, 3)
    assert site.counter("snooze") >= 3
    assert all(job.jid == snoozing.jid for job in site.entries("schedule"))


# Queues -----------------------------------------------------------------------------


def order(site: Site) -> list[str]:
    """Return the idents in the order in which they started."""
    return [entry.ident for entry in site.journal.entries() if entry.mark == "S"]


def test_strict_queues_are_emptied_one_after_the_other(site: Site) -> None:
    for number in range(30):
        for queue in ("last", "middle", "first"):
            site.push(NoopJob, f"{queue}{number}", queue=queue)
    worker = site.run("--strict", "-q", "first", "-q", "middle,last", "--burst", "-c", "1")
    assert worker.wait() == 0
    expected = [f"{queue}{n}" for queue in ("first", "middle", "last") for n in range(30)]
    assert order(site) == expected


def test_weighted_queues_share_by_their_weights(site: Site) -> None:
    for number in range(60):
        for queue in ("light", "heavy"):
            # Too long for more than one to be claimed at a time.
            site.push(SleepJob, f"{queue}{number}", 0.06, queue=queue)
    site.run_ready("-q", "light,1", "-q", "heavy,9", "-c", "1")
    site.await_starts(50)
    heavy = sum(ident.startswith("heavy") for ident in order(site)[:50])
    tell(f"{heavy} of 50 jobs from the queue with nine tenths of the weight")
    # 45 are expected; that it is under 30 happens once in 10**9 times.
    assert heavy >= 30


def test_a_paused_queue_rests_until_it_is_resumed(site: Site) -> None:
    site.store.queues.pause("resting")
    site.run_ready("-q", "resting,9", "-q", "default")
    for number in range(3):
        site.push(NoopJob, f"resting{number}", queue="resting")
        site.push(NoopJob, f"job{number}")
    site.await_finished("job0", "job1", "job2")
    site.store.queues.pause("default")
    site.store.queues.resume("resting")
    site.await_finished("resting0", "resting1", "resting2")
    site.push(NoopJob, "late")
    site.push(NoopJob, "last", queue="resting")
    site.await_finished("last")
    assert "late" not in site.journal.starts
    site.store.queues.resume("default")
    site.await_finished("late")
    assert not any(site.doubles())


def test_queues_that_nobody_named_are_left_alone(site: Site) -> None:
    for name in (
        "other",
        "a:b",
        "{x}",
        "with space",
        "new\nline",
        "\N{PILE OF POO}",
        "",
        "q" * 1024,
    ):
        site.redis.sadd(site.keys.queues, name)
        site.redis.lpush(site.keys.queue(name), payload(NoopJob, "never", queue=name).encode())
    site.redis.sadd(site.keys.queues, *(f"queue{number}" for number in range(10_000)))
    worker = site.run("--burst")
    site.push(NoopJob, "mine")
    worker.wait_for_line("threads on default")
    site.run("--burst").wait()
    site.await_finished("mine")
    worker.wait()
    assert set(site.journal.starts) == {"mine"}
    assert len(site.queue("with space")) == 1


@pytest.mark.parametrize(
    "name", ["", "a:b", "with space", "x" * 65, "q,0", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_a_name_that_no_queue_has_is_a_failed_start(site: Site, name: str) -> None:
    worker = site.run("--queue", name)
    assert worker.wait() == 1
    worker.wait_for_line("--queue")
    assert "Traceback" not in worker.output()


# Bursts -----------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_a_burst_ends_when_the_queues_are_empty(site: Site, processes: int) -> None:
    idents = [f"job{number}" for number in range(300)]
    site.push_all(payload(SleepJob, ident, 0.005) for ident in idents)
    site.push(SleepJob, "long", 1.0)
    site.push(FailJob, "fails", "ValueError")
    site.push(SnoozeJob, "snoozes", 300)
    site.store.queues.pause("resting")
    resting = site.push(NoopJob, "resting", queue="resting")
    worker = site.run("--burst", "--processes", str(processes), "-q", "default", "-q", "resting")
    assert worker.wait() == 0
    assert site.missing([*idents, "long"]) == []
    assert not any(site.doubles())
    assert len(site.entries("retry")) == len(site.entries("schedule")) == 1
    assert site.queue("resting") == [resting.encode()]
    assert re.search(r"\b302 jobs in [\d.]+ s\b", worker.output())
    assert site.leftovers() == []


def test_a_burst_on_nothing_ends_at_once(site: Site) -> None:
    assert site.run("--burst", "--processes", "2").wait() == 0


def test_a_burst_does_what_is_due_and_what_its_jobs_snooze_for_a_moment(site: Site) -> None:
    for number in range(250):  # more than the poller takes at a time
        site.schedule(time.time() - 10, NoopJob, f"due{number}")
    assert site.run("--burst").wait() == 0
    assert len(site.journal.finishes) == 250
    assert not any(site.doubles())


def test_a_burst_survives_a_job_that_kills_its_process(site: Site) -> None:
    site.push("tests.jobsite.jobs.ExitJob", "exit")
    idents = [f"job{number}" for number in range(20)]
    site.push_all(payload(NoopJob, ident) for ident in idents)
    worker = site.run("--burst", POISON_CRASHES=2, POISON_RETRY_DELAY=0)
    assert worker.wait() == 0
    assert site.missing(idents) == []
    assert [job.fields["error_class"] for job in site.entries("dead")] == ["PoisonPill"]


def test_a_burst_goes_on_beside_a_broken_queue(site: Site) -> None:
    site.redis.set(site.keys.queue("broken"), "spoilt")
    site.redis.rpush(site.keys.processed, "spoilt")
    site.push(NoopJob, "job")
    worker = site.run("--burst", "-q", "broken", "-q", "default")
    assert worker.wait() == 0
    assert site.journal.finishes == {"job": 1}
    assert "Traceback" not in worker.output()


# Processes of a job -----------------------------------------------------------------


def test_jobs_may_have_processes_of_their_own(site: Site) -> None:
    worker = site.run_ready("--concurrency", "2")
    site.push(SubprocessJob, "command", "command")
    site.push(SubprocessJob, "pool", "pool")
    # Its processes are ended by SIGTERM, as those of multiprocessing.Pool.
    site.push(ForkJob, "fork")
    site.await_finished("command", "pool", "fork")
    site.push(NoopJob, "after")
    site.await_finished("after")
    site.await_settled()
    assert worker.is_running
    assert count_lines(worker.output(), "stopping", "died") == [0, 0]
    assert not any(site.doubles())
