"""One worker through one fault after the other: no job is lost or repeated, and it stays."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.payload import new_jid
from tests.acceptance.site import SOON, Site, count_lines, payload, tell
from tests.jobsite.jobs import (
    BreakConnectionJob,
    BrokenTransactionJob,
    GrievingJob,
    LeakJob,
    LitterJob,
    NoopJob,
    QueryJob,
    QueryWaitJob,
    WaitJob,
)
from tests.support.polling import wait_until
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer

#: What servers say that will serve again.
PASSING = [
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "ASK 3999 127.0.0.1:1",
    "BUSY Redis is busy running a script.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
    "NOREPLICAS Not enough good replicas to write.",
    "READONLY You can't write against a read only replica.",
]

THREADS = 4

#: Megabytes that a process may still allocate, and that a job wants.
ALLOWED, WANTED = 64, 512

#: Seconds that a request and its reply are under way.
SLOWNESS = 0.5


class Day:
    """The worker, the line to its server, and what it has said since the last look."""

    def __init__(self, site: Site, proxy: TcpProxy) -> None:
        self.site = site
        self.proxy = proxy
        self.worker = site.workers[0]
        self._runs = 0
        self._read = 0

    def begin(self) -> None:
        """Forget what was said so far."""
        self._read = len(self.worker.output())

    def said(self) -> str:
        """Return what was said since the test began."""
        return self.worker.output()[self._read :]

    def await_line(self, text: str) -> None:
        """Wait until the worker says this."""
        wait_until(lambda: text in self.said(), SOON, lambda: f"{text!r}\n{self.said()}")

    def news(self) -> list[tuple[int, int]]:
        """Return how often each process has said that Redis is away, and that it is back."""
        pids = (self.worker.pid, *self.worker.children())
        lines = self.said().splitlines()
        of_each = ["\n".join(line for line in lines if f" {pid} " in line) for pid in pids]
        away, back = "Redis is away", "Redis back"
        return [(own.count(away), own.count(back)) for own in of_each]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have jobs run through the whole block, and end after it: each once."""
        self._runs += 1
        gate = self.site.journal.path.with_name(f"gate-{self._runs}")
        idents = [f"running-{self._runs}-{number}" for number in range(THREADS - 1)]
        self.site.push_all(payload(WaitJob, ident, str(gate)) for ident in idents)
        self.site.await_started(*idents)
        yield
        gate.touch()
        self.site.await_finished(*idents)

    def run_some(self, count: int = 20) -> None:
        """Run some good jobs."""
        idents = [new_jid() for _ in range(count)]
        self.site.push_all(payload(NoopJob, ident) for ident in idents)
        self.site.await_finished(*idents)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A server, a line to it, and the one worker of all days; at its end it stops well."""
    with (
        RedisServer() as server,
        TcpProxy(server.node_url) as proxy,
        Site(server, tmp_path_factory.mktemp("hard_day"), url=proxy.url) as site,
    ):
        worker = site.run_ready("--concurrency", str(THREADS))
        yield Day(site, proxy)
        worker.term()
        assert worker.wait() == 0, worker.output()
        assert site.held() == {}
        assert site.leftovers() == []


@pytest.fixture
def day(week: Day) -> Iterator[Day]:
    """
    The worker for one fault.

    After it the same process runs good jobs, nobody holds a claim, and nothing has run twice.
    """
    children = week.worker.children()
    week.begin()
    yield week
    week.proxy.pass_through()
    week.run_some()
    week.site.await_settled()
    assert week.worker.children() == children
    assert not any(week.site.doubles())
    assert week.site.counter("fenced") == week.site.counter("recovered") == 0
    week.site.redis.delete(week.site.keys.dead, week.site.keys.retry)


# Redis -------------------------------------------------------------------------------


def test_answers_that_promise_better_times_are_waited_out(day: Day) -> None:
    with day.at_work():
        day.proxy.answer(*PASSING)
        # Two loops have met each of them, or one loop twice.
        wait_until(lambda: day.proxy.answered >= 2 * len(PASSING), SOON, "all answers")
        day.proxy.pass_through()
        began = time.monotonic()
        day.run_some(1)
        tell(f"a job was done {time.monotonic() - began:.1f} s after the last of these answers")
    day.await_line("Redis back after")
    wait_until(
        lambda: all(away == back <= 1 for away, back in day.news()),
        SOON,
        lambda: f"one line down and one back: {day.news()}",
    )
    assert "Traceback" not in day.said()


def test_a_disk_that_is_full_is_waited_out(day: Day) -> None:
    """Where a snapshot should be is a folder: the server cannot write, and takes no writes."""
    site, in_the_way = day.site, day.site.server.directory / "dump.rdb"
    site.redis.config_set("save", "3600 1")
    with day.at_work():
        in_the_way.mkdir()
        snapshot(site, "err")
        with pytest.raises(StoreUnavailable, match="MISCONF"):
            site.store.queues.push({"default": [payload(NoopJob, "refused").encode()]})
        day.await_line("Redis is away")
        in_the_way.rmdir()
        snapshot(site, "ok")
        day.await_line("Redis back after")
    site.redis.config_set("save", "")
    assert "refused" not in site.journal.starts
    assert all(away <= 1 for away, _ in day.news())


def snapshot(site: Site, ends: str) -> None:
    """Have Redis write a snapshot, and wait for it to end ``ok`` or as an ``err``."""
    site.redis.bgsave()

    def has_ended() -> bool:
        files = site.redis.info("persistence")
        return not files["rdb_bgsave_in_progress"] and files["rdb_last_bgsave_status"] == ends

    wait_until(has_ended, SOON, f"a snapshot that ends {ends}")


def test_a_line_that_takes_half_a_second_is_only_slow(day: Day) -> None:
    day.proxy.delay(SLOWNESS / 2)
    idents = [new_jid() for _ in range(2 * THREADS)]
    day.site.push_all(payload(NoopJob, ident) for ident in idents)
    day.site.await_finished(*idents)
    day.site.await_settled()
    assert "Redis is away" not in day.said()


# The process -------------------------------------------------------------------------


def test_signals_that_ask_for_nothing_change_nothing(day: Day) -> None:
    with day.at_work():
        for number in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT):
            for pid in (day.worker.pid, *day.worker.children()):
                os.kill(pid, number)
        day.run_some()
    assert count_lines(day.said(), "stopping", "quiet", "died") == [0, 0, 0]


def test_a_job_that_is_refused_its_memory_is_tried_again_and_the_others_run(day: Day) -> None:
    (child,) = day.worker.children()
    with open(f"/proc/{child}/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.prlimit(child, resource.RLIMIT_AS)
    with day.at_work():
        resource.prlimit(child, resource.RLIMIT_AS, (used + (ALLOWED << 20), hard))
        try:
            greedy = day.site.push(LeakJob, "greedy", WANTED)
            wait_until(lambda: day.site.entries("retry"), SOON, "the failure")
            day.run_some()
        finally:
            resource.prlimit(child, resource.RLIMIT_AS, (soft, hard))
    (failed,) = day.site.entries("retry")
    assert (failed.jid, failed.fields["error_class"]) == (greedy.jid, "MemoryError")


def test_jobs_that_leave_threads_and_files_behind_do_not_keep_a_worker_from_its_work(
    day: Day,
) -> None:
    (child,) = day.worker.children()
    idents = [new_jid() for _ in range(5)]
    with day.at_work():
        day.site.push_all(payload(LitterJob, ident, 20) for ident in idents)
        day.site.await_finished(*idents)
        day.run_some()
    assert len(os.listdir(f"/proc/{child}/task")) > 100
    assert len(os.listdir(f"/proc/{child}/fd")) > 100


def test_a_hook_that_does_not_end_takes_one_thread_and_its_job_dies_all_the_same(
    day: Day,
) -> None:
    gate = day.site.journal.path.with_name("mourned")
    dying = day.site.push(GrievingJob, "dying", str(gate), retry=0)
    day.site.await_started("mourning-dying")
    with day.at_work():  # all other threads
        pass
    day.run_some()
    gate.touch()
    (dead,) = wait_until(lambda: day.site.entries("dead"), SOON, "the death")
    assert (dead.jid, dead.fields["error_class"]) == (dying.jid, "ValueError")


# The database ------------------------------------------------------------------------


@pytest.mark.parametrize("job", [BreakConnectionJob, BrokenTransactionJob])
def test_a_connection_that_a_job_spoils_is_whole_for_the_next(
    day: Day, job: type[BreakConnectionJob | BrokenTransactionJob]
) -> None:
    site = day.site
    for spoils in range(THREADS):
        spoiling = site.push(job, f"{job.__name__}-{spoils}", retry=0)
        wait_until(
            lambda: site.entries("dead") or f"{job.__name__}-{spoils}" in site.journal.finishes,  # noqa: B023 - asked at once
            SOON,
            "the end of it",
        )
        assert [dead.jid for dead in site.entries("dead")] in ([], [spoiling.jid])
        site.redis.delete(site.keys.dead)
        # Each thread once: they have to wait for each other.
        gate = site.journal.path.with_name(f"{job.__name__}-{spoils}")
        idents = [new_jid() for _ in range(THREADS)]
        site.push_all(payload(QueryWaitJob, ident, str(gate)) for ident in idents)
        site.await_started(*idents)
        gate.touch()
        site.await_finished(*idents)
    site.push(QueryJob, ident := new_jid())
    site.await_finished(ident)
    assert site.entries("retry") == site.entries("dead") == []
