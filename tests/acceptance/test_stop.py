"""
Signals and deaths: a worker stops in good order, and its end takes nothing along.

``JOBQUEUE_PILLS`` (2) and ``JOBQUEUE_PILL_NEIGHBOURS`` (30) say how many jobs kill their
process, and among how many others.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from tests.acceptance.conftest import MakeSite
from tests.acceptance.site import SOON, Site, count_lines, elapse, payload, tell
from tests.jobsite.jobs import ExitJob, FailJob, NoopJob, SegfaultJob, SleepJob, WaitJob
from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer

#: Seconds that the issue grants on top of the time-out for a stop.
GRACE = 5.0

#: Jobs that kill their process, and others among them.
PILLS = int(os.environ.get("JOBQUEUE_PILLS", "2"))
NEIGHBOURS = int(os.environ.get("JOBQUEUE_PILL_NEIGHBOURS", "30"))

GRACEFUL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def test_term_gives_a_long_job_back_untouched_and_next_in_line(site: Site) -> None:
    long_job = site.push(SleepJob, "long", 300)
    worker = site.run_ready("--concurrency", "1", "--timeout", "2")
    site.await_started("long")
    behind = [site.push(NoopJob, f"behind{n}") for n in range(3)]
    began = time.monotonic()
    worker.term()
    assert worker.wait(2 + GRACE) == 0
    tell(f"stopped after {time.monotonic() - began:.1f} s with a time-out of 2 s")
    assert site.queue() == [job.encode() for job in (long_job, *behind)]
    worker.wait_for_line(f"requeued 1 running job ({long_job.jid})")
    assert site.held() == {}
    assert site.identities() == []
    assert site.leftovers() == []


def test_term_lets_short_jobs_end_and_leaves_the_rest_in_the_queue(site: Site) -> None:
    idents = [f"job{n}" for n in range(40)]
    for ident in idents:
        site.push(SleepJob, ident, 0.3)
    worker = site.run_ready("--concurrency", "10")
    site.await_starts(10)
    worker.term()
    assert worker.wait() == 0
    starts, finishes = site.journal.starts, site.journal.finishes
    assert starts == finishes
    assert max(starts.values()) == 1
    assert len(starts) + len(site.queue()) == 40
    assert "requeued" not in worker.output()
    assert site.leftovers() == []
    # What was left is run by the next one, and nothing twice.
    site.run("--burst").wait()
    assert site.journal.finishes == dict.fromkeys(idents, 1)


@pytest.mark.parametrize("number", GRACEFUL, ids=lambda number: signal.Signals(number).name)
def test_a_running_job_may_end_after_each_graceful_signal(site: Site, number: int) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready()
    site.await_started("running")
    worker.signal(number)
    worker.wait_for_line("1 job(s) run")
    go_on.touch()
    assert worker.wait() == 0
    assert site.journal.finishes == {"running": 1}
    assert site.queue() == []


@pytest.mark.parametrize("number", GRACEFUL, ids=lambda number: signal.Signals(number).name)
def test_a_signal_to_the_whole_group_counts_once(site: Site, number: int) -> None:
    # Ctrl-C, a closed terminal, and systemd's default KillMode do that.
    go_on = site.journal.path.with_name("go on")
    for n in range(4):
        site.push(WaitJob, f"running{n}", str(go_on))
    worker = site.run_ready("--processes", "2", "--concurrency", "2")
    site.await_started(*(f"running{n}" for n in range(4)))
    os.killpg(worker.pid, number)
    wait_until(lambda: count_lines(worker.output(), "job(s) run, ") == [2], SOON, "two stops")
    go_on.touch()
    assert worker.wait() == 0
    assert site.journal.finishes == {f"running{n}": 1 for n in range(4)}
    assert "requeued" not in worker.output()
    assert site.queue() == []


def test_a_second_signal_skips_the_wait(site: Site) -> None:
    long_job = site.push(SleepJob, "long", 300)
    worker = site.run_ready("--timeout", "120")
    site.await_started("long")
    worker.term()
    worker.wait_for_line("1 job(s) run")
    worker.term()
    assert worker.wait() == 0
    assert site.queue() == [long_job.encode()]
    worker.wait_for_line("second signal")


def test_term_while_redis_is_down_leaves_the_jobs_to_recovery(
    private_redis: Callable[..., RedisServer], make_site: MakeSite
) -> None:
    server = private_redis(appendfsync="always")
    site = make_site(server)
    site.push(SleepJob, "long", 300)
    worker = site.run_ready("--timeout", "2")
    site.await_started("long")
    server.kill9()
    began = time.monotonic()
    worker.term()
    assert worker.wait(2 + 10) == 3
    tell(f"stopped after {time.monotonic() - began:.1f} s without Redis")
    worker.wait_for_line("1 jobs left to recovery")
    server.start()
    assert list(site.held().values()) == [1]


@pytest.mark.parametrize("running", [False, True], ids=["idle", "at work"])
def test_term_on_a_line_that_has_gone_mute_leaves_nothing_to_recovery(
    redis_server: RedisServer, make_site: MakeSite, running: bool
) -> None:
    # A failover, or a firewall that forgets: what stood is dead and no one is told, what is
    # new is whole. The process finds out when it speaks, and that may be its last word.
    with TcpProxy(redis_server.node_url) as line:
        site = make_site(redis_server, url=line.url)
        go_on = site.journal.path.with_name("go on")
        worker = site.run_ready("--concurrency", "1", LEASE=60)  # and no beat finds it out
        if running:
            site.push(WaitJob, "running", str(go_on))
            site.await_started("running")
        line.black_hole()
        line.pass_through()
        worker.term()
        worker.wait_for_line("stopping")
        go_on.touch()
        assert worker.wait() == 0
        assert site.journal.finishes == ({"running": 1} if running else {})
        assert "metrics" not in worker.output()  # that the last ones are lost
    assert site.queue() == []
    assert site.held() == {}
    assert site.identities() == []


def test_tstp_quiets_and_a_quiet_worker_still_stops(site: Site) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready("--concurrency", "2")
    site.await_started("running")
    identity = site.identity(worker.children()[0])
    worker.signal(signal.SIGTSTP)
    worker.wait_for_line("quiet")
    late = site.push(NoopJob, "late")
    # The beat that tells of it comes seconds later: time enough to take the job, wrongly.
    wait_until(
        lambda: site.redis.hget(site.keys.process(identity), "quiet") == b"true",
        SOON,
        "the process's record",
    )
    go_on.touch()
    site.await_finished("running")
    assert site.queue() == [late.encode()]
    worker.term()
    assert worker.wait() == 0
    assert site.queue() == [late.encode()]
    assert site.journal.starts == {"running": 1}


def test_ttin_has_every_thread_tell_what_it_does(site: Site) -> None:
    site.push(SleepJob, "long", 300)
    worker = site.run_ready("--concurrency", "2", "--timeout", "0")
    site.await_started("long")
    worker.signal(signal.SIGTTIN)
    for text in ("processor-0", "processor-1", "jobqueue-fetcher", "in perform", "heartbeat"):
        worker.wait_for_line(text)
    site.push(NoopJob, "after")
    site.await_finished("after")


def test_term_at_any_moment_of_the_start_claims_nothing_for_good(site: Site) -> None:
    moments = [number * 0.08 for number in range(12)]
    idents = [f"job{number}" for number in range(30)]
    for ident in idents:
        site.push(NoopJob, ident)
    codes = []
    for moment in moments:
        worker = site.run("--timeout", "5")
        elapse(moment)
        worker.term()
        codes.append(worker.wait())
    tell(f"exit codes after TERM at 0 to 900 ms: {codes}")
    assert set(codes) <= {0, -signal.SIGTERM}
    assert site.held() == {}
    assert site.identities() == []
    assert len(site.queue()) + len(site.journal.finishes) == 30
    assert not any(site.doubles())


def test_stopping_at_random_moments_repeats_nothing(site: Site) -> None:
    pushed = 0
    for _ in range(4):
        # Some 300 are done until the stop, on a machine that is busy many more.
        idents = [f"job{number}" for number in range(pushed, pushed + 500)]
        site.push_all(payload(SleepJob, ident, 0.005) for ident in idents)
        pushed += len(idents)
        before = len(site.journal.finishes)
        worker = site.run_ready("--processes", "2", "--concurrency", "5")
        site.await_starts(before + 200)  # the moment is as random as the machine
        worker.term()
        assert worker.wait() == 0
        assert site.held() == {}
    assert site.journal.starts == site.journal.finishes
    assert not any(site.doubles())
    assert len(site.queue()) + len(site.journal.finishes) == pushed


def test_jobs_whose_claim_is_on_its_way_at_a_stop_are_given_back_and_not_run(
    redis_server: RedisServer, make_site: MakeSite
) -> None:
    with TcpProxy(redis_server.node_url) as proxy:
        site = make_site(redis_server, url=proxy.url)
        jobs = [site.push(SleepJob, f"job{number}", 0.01) for number in range(30)]
        proxy.delay(0.1)
        worker = site.run_ready("--concurrency", "10")
        worker.term()  # its first step is under way, and nothing held yet
        assert worker.wait() == 0
    starts = site.journal.starts
    assert starts == site.journal.finishes
    left = site.queue()
    assert len(left) + len(starts) == len(jobs)
    assert {job.encode() for job in jobs if job.args[0] not in starts} == set(left)
    assert "requeued" not in worker.output()


def test_children_stop_by_themselves_when_their_supervisor_is_killed(site: Site) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "short", str(go_on))
    long_job = site.push(SleepJob, "long", 300)
    worker = site.run_ready("--processes", "2", "--concurrency", "1", "--timeout", "3")
    site.await_started("short", "long")
    children = worker.children()
    assert len(children) == 2
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    go_on.touch()
    wait_until(
        lambda: not any(map(procfs.is_alive, children)), 3 + GRACE + SOON, "the children's end"
    )
    assert site.journal.finishes == {"short": 1}
    assert site.queue() == [long_job.encode()]
    assert site.held() == {}
    assert site.identities() == []
    assert count_lines(worker.output(), "the supervisor is gone", "Traceback") == [2, 0]


def test_a_killed_child_is_replaced_and_its_job_runs_again_within_seconds(site: Site) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready("--processes", "2", "--concurrency", "1")
    site.await_started("running")
    wait_until(lambda: len(site.identities()) == 2, SOON, "both children")
    holder = int(next(iter(site.held())).split(":")[1])
    began = time.monotonic()
    os.kill(holder, signal.SIGKILL)
    wait_until(lambda: site.journal.starts["running"] == 2, SOON, "the second start")
    recovered = time.monotonic() - began
    tell(f"started again {recovered * 1000:.0f} ms after kill -9")
    # Promised are 3 s; the rest is for a busy machine.
    assert recovered < 3 + GRACE
    wait_until(lambda: len(site.identities()) == 2, SOON, "the new child")
    assert holder not in worker.children()
    go_on.touch()
    site.await_finished("running")
    assert site.journal.finishes == {"running": 1}
    worker.term()
    assert worker.wait() == 0
    assert site.leftovers() == []


def test_leaving_with_code_0_in_a_job_is_no_clean_stop(site: Site) -> None:
    site.push(ExitJob, "exit")
    worker = site.run_ready(POISON_CRASHES=2, POISON_RETRY_DELAY=0.1)
    worker.wait_for_line("died: exit code 0")
    site.push(NoopJob, "neighbour")
    wait_until(lambda: site.entries("dead"), SOON, "the job to die")
    site.await_finished("neighbour")
    assert site.journal.starts["exit"] == 2
    assert worker.is_running
    worker.term()
    assert worker.wait() == 0


def test_a_first_job_that_leaves_at_once_does_not_look_like_a_failed_start(site: Site) -> None:
    # It may run before the child has said that it is ready.
    site.push(ExitJob, "exit", 1)
    worker = site.run("--processes", "1", POISON_CRASHES=1)
    wait_until(lambda: site.entries("dead") or not worker.is_running, SOON, "the job to die")
    assert worker.is_running, worker.output()


@pytest.mark.timeout(120 + 60 * PILLS)
def test_poison_pills_die_and_their_neighbours_live(site: Site) -> None:
    pills = [site.push(SegfaultJob, f"pill{n}") for n in range(PILLS)]
    good = [f"good{n}" for n in range(NEIGHBOURS)]
    for ident in good:
        site.push(SleepJob, ident, 0.05)
    began = time.monotonic()
    worker = site.run_ready("--processes", "3", "--concurrency", "5", POISON_RETRY_DELAY=0.2)
    wait_until(
        lambda: len(site.entries("dead")) == PILLS,
        40 + 50 * PILLS,
        lambda: f"{PILLS} deaths\n{site.output()}",
    )
    site.await_finished(*good)
    delays = [float(d) for d in re.findall(r"another one starts in ([\d.]+) s", worker.output())]
    tell(
        f"{PILLS} pills among {NEIGHBOURS}: {len(delays)} crashes in "
        f"{time.monotonic() - began:.0f} s, waits of {min(delays)} to {max(delays)} s"
    )
    assert 1 <= min(delays) <= max(delays) <= 30
    dead = site.entries("dead")
    assert {job.jid for job in dead} == {pill.jid for pill in pills}
    for job in dead:
        assert job.fields["error_class"] == "PoisonPill"
        assert job.fields["error_message"] == "killed its worker 3 times"
        assert job.crashes == 3
        assert job.retry_count is None
    # The first time nobody knows which of the jobs that a process held it was, so that one
    # which had not even started may be charged.
    assert {site.journal.starts[f"pill{n}"] for n in range(PILLS)} <= {2, 3}
    assert set(site.journal.finishes) == set(good)
    worker.term()
    assert worker.wait() == 0
    assert site.entries("retry") == []
    assert site.leftovers() == []


def test_exceptions_of_every_kind_are_failures_of_the_job_alone(site: Site) -> None:
    kinds = ["ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit"]
    kinds += ["MemoryError", "RecursionError", "UserAbort"]
    for kind in kinds:
        site.push(FailJob, kind, kind)
    worker = site.run_ready("--concurrency", "2")
    wait_until(lambda: len(site.entries("retry")) == 7, SOON, "seven retries")
    failed = {job.args[0]: job.fields["error_class"] for job in site.entries("retry")}
    assert failed == {k: k for k in kinds} | {"UserAbort": "tests.jobsite.jobs.UserAbort"}
    site.push(NoopJob, "after")
    site.await_finished("after")
    assert len(worker.children()) == 1
    assert "died" not in worker.output()


#: Where a log can go that takes nothing, as a line of Python.
NOWHERE = {
    "a pipe that nobody reads any more": "r, w = os.pipe(); os.close(r)",
    "a disk that is full": "w = os.open('/dev/full', os.O_WRONLY)",
}


@pytest.mark.parametrize("nowhere", NOWHERE)
def test_a_log_that_takes_nothing_stops_no_work(site: Site, nowhere: str) -> None:
    worker = site.run_after(f"{NOWHERE[nowhere]}; os.dup2(w, 1); os.dup2(w, 2)")
    site.push(NoopJob, "one")
    site.push(FailJob, "fails", "ValueError")
    site.await_finished("one")
    wait_until(lambda: site.entries("retry"), SOON, "the failure")
    # The supervisor writes too: it tells of the death, and starts another child.
    first = worker.kill9_child()
    wait_until(lambda: worker.children() not in ([], [first]), SOON, "another child")
    site.push(NoopJob, "two")
    site.await_finished("two")
    worker.term()
    assert worker.wait() == 0


def test_no_room_for_threads_is_a_failed_start(site: Site) -> None:
    job = site.push(NoopJob, "never")
    # Stacks of 512 MB: there is room for two of them, and the rest for everything else.
    limits = "import resource as r; " + "; ".join(
        f"r.setrlimit(r.RLIMIT_{what}, ({size} << 20, r.getrlimit(r.RLIMIT_{what})[1]))"
        for what, size in (("STACK", 512), ("AS", 1536))
    )
    worker = site.run_after(limits, "--concurrency", "20")
    assert worker.wait() == 1
    worker.wait_for_line("a thread cannot be started")
    assert "--concurrency" in worker.output()
    assert site.queue() == [job.encode()]
    assert site.held() == {}
    assert site.identities() == []


@pytest.mark.skipif(os.getuid() == 0, reason="root has no limit of processes")
def test_a_limit_of_processes_is_a_failed_start(site: Site) -> None:
    job = site.push(NoopJob, "never")
    running = len(os.listdir("/proc"))
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NPROC, ({running}, {running}))"
    worker = site.run_after(limit, "--concurrency", "2000")
    assert worker.wait() == 1
    assert site.queue() == [job.encode()]
    assert site.identities() == []
