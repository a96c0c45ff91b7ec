"""
A kill switch under real workers: what was accepted is held, its neighbours run, nothing is lost.

The switches are thrown in the mirror, as by a process that saves the flag; that
the flags get there is shown elsewhere. ``JOBQUEUE_HELD_JOBS`` (4000) says how many are held.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from django_jobqueue import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload
from tests.acceptance.site import SOON, Site, payload, tell
from tests.jobsite.jobs import FailJob, NoopJob, SleepJob, WaitJob
from tests.support.polling import wait_until

NOOP = wire_name(NoopJob)

JOBS = int(os.environ.get("JOBQUEUE_HELD_JOBS", "4000"))

#: Other jobs among them.
OTHERS = 20

#: As fast as it goes: how gently is shown elsewhere.
SETTINGS: dict[str, Any] = {"KILL_SWITCH": {"RELEASE_RATE": 100_000}}


def throw(site: Site, job: type[Job], state: str | None) -> None:
    """Turn the switch of a class on or off; returns when no worker can have missed it."""
    flag = {NoopJob: "disable_noop_job", FailJob: "disable_fail_job"}[job]
    mirror = site.store.switches
    states = {} if state is None else {flag: state}
    wait_until(lambda: mirror.replace(mirror.version(), states).value >= 0, SOON, "the mirror")


def held(site: Site, job: type[Job]) -> list[Payload]:
    return [Payload.decode(raw) for raw, _ in site.store.held.page(wire_name(job), 0, 100_000)]


def await_held(site: Site, job: type[Job], count: int) -> None:
    wait_until(
        lambda: len(held(site, job)) == count,
        SOON,
        lambda: f"{count} held jobs, not {len(held(site, job))}\n{site.output()[-2000:]}",
    )


def await_at_least(site: Site, count: int) -> None:
    wait_until(lambda: site.store.held.classes().get(NOOP, 0) >= count, SOON, "some held jobs")


def test_all_jobs_of_a_class_are_held_and_its_neighbours_run(site: Site) -> None:
    idents = [f"job{number}" for number in range(JOBS)]
    others = [f"other{number}" for number in range(OTHERS)]
    throw(site, NoopJob, "on")
    for number, other in enumerate(others):
        site.push_all(payload(NoopJob, ident) for ident in idents[number::OTHERS])
        site.push(SleepJob, other, 0.0)
    began = time.monotonic()
    worker = site.run_ready(**SETTINGS)
    site.await_finished(*others, timeout=2 * SOON)
    await_held(site, NoopJob, len(idents))
    tell(f"{JOBS} jobs held in {time.monotonic() - began:.1f} s, with {OTHERS} others among them")
    assert site.journal.starts.keys() == set(others)
    assert Counter(job.args[0] for job in held(site, NoopJob)) == Counter(idents)
    # Redis counts what was held by class and minute, for who looks at the incident.
    assert site.store.tally.last()[NOOP] == {"held": len(idents)}
    assert site.counter("processed") == len(others)

    throw(site, NoopJob, None)
    site.await_finished(*idents, timeout=2 * SOON)
    site.await_settled()
    assert not any(site.doubles())
    assert held(site, NoopJob) == []
    worker.term()
    assert worker.wait() == 0


def test_a_worker_that_is_killed_while_it_holds_jobs_loses_none(site: Site) -> None:
    idents = [f"job{number}" for number in range(2_500)]
    throw(site, NoopJob, "on")
    site.push_all(payload(NoopJob, ident) for ident in idents)
    worker = site.run_ready(
        "--processes", "2", **SETTINGS, POISON_CRASHES=10_000, POISON_RETRY_DELAY=0.2
    )
    for least in (500, 1000, 1500):
        await_at_least(site, least)
        wait_until(worker.children, SOON, "another child")
        worker.kill9_child()
    await_held(site, NoopJob, len(idents))
    site.await_settled()
    assert Counter(job.args[0] for job in held(site, NoopJob)) == Counter(idents)
    assert site.journal.starts == Counter()


def test_scheduled_jobs_and_retries_are_held_when_they_are_due(site: Site) -> None:
    digest = "d" * 32
    throw(site, NoopJob, "on")
    throw_both = {"disable_noop_job": "on", "disable_fail_job": "on"}
    mirror = site.store.switches
    wait_until(lambda: mirror.replace(mirror.version(), throw_both).value >= 0, SOON, "the mirror")
    unique = site.schedule(
        time.time() - 1, NoopJob, "scheduled", unique_for=60.0, unique_digest=digest
    )
    lock = site.keys.unique(digest)
    site.redis.set(lock, unique.jid, px=60_000)
    failed = payload(FailJob, "retried", "ValueError", retry_count=0, error_class="ValueError")
    site.redis.zadd(site.keys.retry, {failed.encode(): 1.0})
    site.run_ready(**SETTINGS)
    await_held(site, NoopJob, 1)
    await_held(site, FailJob, 1)
    assert held(site, NoopJob)[0].held_from == "schedule"
    assert held(site, FailJob)[0].held_from == "retry"
    assert site.redis.ttl(lock) == -1
    assert site.entries("dead") == []

    throw(site, NoopJob, None)
    site.await_finished("scheduled")
    site.await_starts(2)
    wait_until(lambda: not site.redis.exists(lock), SOON, "the lock to go")
    wait_until(lambda: [e.retry_count for e in site.entries("retry")] == [1], SOON, "the retry")
    assert not any(site.doubles())


def test_jobs_of_a_class_that_is_to_be_dropped_are_gone_with_their_locks(site: Site) -> None:
    throw(site, NoopJob, "on")
    digests = [f"{number:032x}" for number in range(1000)]
    jobs = [payload(NoopJob, digest, unique_for=60.0, unique_digest=digest) for digest in digests]
    site.push_all(jobs)
    with site.redis.pipeline(transaction=False) as pipe:
        for job in jobs:
            pipe.set(site.keys.unique(job.args[0]), job.jid)
        pipe.execute()
    site.run_ready(KILL_SWITCH={"QUEUED_JOBS": "drop"})
    site.await_settled()
    wait_until(lambda: site.store.tally.last()[NOOP] == {"dropped": 1000}, SOON, "the count")
    assert site.store.locks.owners(digests) == {}
    assert held(site, NoopJob) == []
    assert site.journal.starts == Counter()


def test_a_unique_job_whose_worker_is_killed_keeps_its_lock_and_runs_again(site: Site) -> None:
    digest = "e" * 32
    job = payload(SleepJob, "one", 1.0, unique_for=60.0, unique_digest=digest)
    site.redis.set(site.keys.unique(digest), job.jid, px=60_000)
    site.push_all([job])
    worker = site.run_ready()
    site.await_started("one")
    worker.kill9_child()
    wait_until(lambda: site.journal.starts["one"] == 2, SOON, "the second start")
    assert site.store.locks.owners([digest]) == {digest: job.jid}
    site.await_finished("one")
    wait_until(lambda: not site.store.locks.owners([digest]), SOON, "the lock to go")


def test_a_long_job_keeps_its_lock_beyond_its_end(site: Site) -> None:
    go_on, digest = site.journal.path.with_name("go on"), "f" * 32
    job = payload(WaitJob, "long", str(go_on), unique_for=60.0, unique_digest=digest)
    lock = site.keys.unique(digest)
    site.redis.set(lock, job.jid, px=60_000)
    site.push_all([job])
    site.run_ready()  # its lease of 15 s has it beat every 3.75 s
    site.await_started("long")
    for _ in range(2):  # each beat gives the lock its whole time again
        wait_until(lambda: site.redis.pttl(lock) < 58_000, SOON, "time to pass")
        wait_until(lambda: site.redis.pttl(lock) > 58_000, SOON, "a beat")
        assert site.store.locks.owners([digest]) == {digest: job.jid}
    go_on.touch()
    site.await_finished("long")
    wait_until(lambda: not site.store.locks.owners([digest]), SOON, "the lock to go")
