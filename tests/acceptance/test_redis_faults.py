"""A Redis that fails in every way it can: no job is lost, none runs twice, and workers stay up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from django_jobqueue.exceptions import EnqueueError
from django_jobqueue.store import scripts
from tests.acceptance.conftest import MakeSite
from tests.acceptance.site import SOON, Site, count_lines, elapse, payload, tell
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import FailJob, NoopJob, SleepJob, SnoozeJob, WaitJob
from tests.support import acl
from tests.support.cluster import ClusterNode
from tests.support.polling import wait_until
from tests.support.processes import RunJobs
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer

PrivateRedis = Callable[..., RedisServer]

#: Cuts of all connections that must have hit somebody.
CUTS = 60


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    """A line to the shared server that the test may break."""
    with TcpProxy(redis_server.node_url) as line:
        yield line


def push_many(site: Site, count: int, seconds: float) -> list[str]:
    """Push so many jobs of so many seconds, and return their idents."""
    idents = [f"job{number}" for number in range(count)]
    site.push_all(payload(SleepJob, ident, seconds) for ident in idents)
    return idents


def stop(site: Site) -> None:
    """Stop all workers, and check that they end well and leave nothing behind."""
    running = [worker for worker in site.workers if worker.is_running]
    for worker in running:
        worker.term()
    assert [worker.wait() for worker in running] == [0] * len(running)
    assert site.held() == {}
    assert site.leftovers() == []


# Connections -------------------------------------------------------------------------


def test_connections_cut_60_times_lose_and_repeat_nothing(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    site = make_site(private_redis())
    worker = site.run_ready("--processes", "2", "--concurrency", "5")
    idents: list[str] = []
    cuts = 0
    while cuts < CUTS:
        fresh = [f"round{cuts}-{number}" for number in range(8)]
        site.push_all(payload(SleepJob, ident, 0.02) for ident in fresh)
        idents += fresh
        site.await_started(fresh[cuts % 8])
        # Every connection but the one that asks for it.
        cuts += int(site.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")) > 0
    site.await_finished(*idents)
    site.await_settled()
    tell(f"{cuts} cuts under {len(idents)} jobs, fenced {site.counter('fenced')}")
    assert site.journal.finishes == dict.fromkeys(idents, 1)
    assert not any(site.doubles())
    assert site.counter("fenced") == 0
    assert worker.is_running
    assert count_lines(worker.output(), "died", "Traceback") == [0, 0]
    stop(site)


def test_a_line_reset_again_and_again_repeats_nothing(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    site = make_site(redis_server, url=proxy.url)
    site.run_ready("--concurrency", "5")
    idents = push_many(site, 300, 0.01)
    for number in range(1, 11):
        site.await_starts(25 * number)
        # The odd ones in the middle of a request, the even ones of a reply.
        proxy.cut_after(300, "request" if number % 2 else "reply")
    proxy.pass_through()
    site.await_finished(*idents)
    site.await_settled()
    assert site.journal.starts == dict.fromkeys(idents, 1)
    stop(site)


def test_a_reply_that_is_lost_brings_its_jobs_up_again_and_repeats_none(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    site = make_site(redis_server, url=proxy.url)
    worker = site.run_ready("--concurrency", "5")
    swallow_a_claim(site, proxy)
    began = time.monotonic()
    worker.wait_for_line("whose reply was lost")
    site.await_settled()
    tell(f"all done {time.monotonic() - began:.1f} s after a swallowed reply")
    assert site.journal.starts == site.journal.finishes
    assert set(site.journal.starts.values()) == {1}
    assert site.counter("fenced") == 0
    stop(site)


def swallow_a_claim(site: Site, proxy: TcpProxy) -> list[str]:
    """Have the reply of a step get lost that claims five jobs; return their idents."""
    step = scripts.load(flags=not site.server.is_redis_6)["step"]
    for attempt in range(10):
        idents = [f"attempt{attempt}-{number}" for number in range(5)]
        proxy.swallow_replies(to=step.digest.encode(), times=1)
        site.push_all(payload(SleepJob, ident, 0.01) for ident in idents)
        wait_until(lambda: not site.queue(), SOON, "the claims")
        elapse(0.5)  # with the reply they would have started
        if not site.journal.starts.keys() & set(idents) and sum(site.held().values()) == 5:
            return idents
        # It was the reply of a step that claimed nothing.
        site.await_finished(*idents)
        site.await_settled()
    raise AssertionError("No reply with claims could be swallowed.")


def test_a_process_killed_before_it_read_its_claims_repeats_nothing(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    site = make_site(redis_server, url=proxy.url)
    worker = site.run_ready("--concurrency", "5")
    idents = swallow_a_claim(site, proxy)
    worker.kill9_child()
    site.await_finished(*idents)
    site.await_settled()
    assert site.journal.starts == site.journal.finishes
    assert set(site.journal.starts.values()) == {1}
    stop(site)


def test_a_line_that_falls_silent_is_given_up_and_made_anew(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    site = make_site(redis_server, url=proxy.url)
    go_on = site.journal.path.with_name("go on")
    worker = site.run_ready("--concurrency", "3")
    site.push_all(payload(WaitJob, f"running{n}", str(go_on)) for n in range(2))
    site.await_started("running0", "running1")
    proxy.black_hole()
    go_on.touch()
    worker.wait_for_line("Redis is away")
    # What stands now stays mute for good.
    proxy.pass_through()
    site.push(NoopJob, "after")
    began = time.monotonic()
    site.await_finished("running0", "running1", "after")
    tell(f"a job started {time.monotonic() - began:.1f} s after the line was whole again")
    site.await_settled()
    assert set(site.journal.starts.values()) == {1}
    stop(site)


def test_a_worker_can_be_stopped_on_a_line_that_is_silent(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    site = make_site(redis_server, url=proxy.url)
    long_job = site.push(SleepJob, "long", 300)
    worker = site.run_ready("--timeout", "2")
    site.await_started("long")
    proxy.black_hole()
    began = time.monotonic()
    worker.term()
    assert worker.wait(SOON) == 3
    tell(f"stopped after {time.monotonic() - began:.1f} s with a Redis that does not answer")
    (claims,) = site.held()
    assert site.redis.hvals(site.keys.claims(claims)) == [long_job.encode()]


def test_a_slow_line_of_single_bytes_is_only_slow(
    redis_server: RedisServer, proxy: TcpProxy, make_site: MakeSite
) -> None:
    proxy.delay(0.0, chunk=1)
    site = make_site(redis_server, url=proxy.url)
    site.run_ready("--concurrency", "3")
    idents = push_many(site, 10, 0.01)
    site.await_finished(*idents)
    site.await_settled()
    assert site.journal.starts == dict.fromkeys(idents, 1)
    proxy.pass_through()
    stop(site)


# The server --------------------------------------------------------------------------


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_redis_killed_and_restarted_loses_no_job(
    private_redis: PrivateRedis, make_site: MakeSite, fsync: str
) -> None:
    server = private_redis(appendfsync=fsync)
    site = make_site(server)
    site.run_ready("--processes", "2", "--concurrency", "5")
    idents: list[str] = []
    for kill in range(6):
        fresh = [f"kill{kill}-{number}" for number in range(60)]
        site.push_all(payload(SleepJob, ident, 0.02) for ident in fresh)
        idents += fresh
        site.await_starts(len(idents) - 40)
        server.kill9()
        server.start()
    site.await_finished(*idents)
    site.await_settled()
    starts, finishes = site.doubles()
    tell(
        f"appendfsync {fsync}: 6 kills of Redis, {len(idents)} jobs, 0 lost, "
        f"double starts {starts.total()}, double completions {finishes.total()}"
    )
    # A kill takes no write back that had reached the kernel. But with "everysec" a server
    # whose disk is busy answers before it has written: what was in flight runs once more.
    in_flight = 0 if fsync == "always" else 2 * 5
    assert starts.total() <= 6 * in_flight
    assert site.entries("dead") == site.entries("retry") == []
    assert "Traceback" not in site.output()
    stop(site)


def test_scripts_forgotten_again_and_again_are_not_noticed(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    site = make_site(private_redis())
    worker = site.run_ready("--processes", "2", "--concurrency", "5")
    idents = push_many(site, 500, 0.005)
    site.push_all(payload(FailJob, f"fails{number}", "ValueError") for number in range(20))
    flushes = 0
    while site.missing(idents):
        site.redis.script_flush()
        flushes += 1
    wait_until(lambda: len(site.entries("retry")) == 20, SOON, "the retries")
    site.await_settled()
    tell(f"{flushes} flushes under {len(idents)} jobs")
    assert not any(site.doubles())
    assert count_lines(worker.output(), "Redis is away", "NOSCRIPT") == [0, 0]
    stop(site)


def test_a_full_redis_refuses_new_jobs_and_lets_the_workers_drain_it(
    private_redis: PrivateRedis, make_site: MakeSite, jobqueue_settings: JobqueueSettings
) -> None:
    site = make_site(private_redis())
    idents = push_many(site, 200, 0.001)
    site.push_all(payload(FailJob, f"fails{number}", "ValueError") for number in range(5))
    site.push_all(payload(FailJob, f"dies{number}", "ValueError", retry=0) for number in range(5))
    site.schedule(time.time() + 1, NoopJob, "scheduled")
    site.redis.config_set("maxmemory", "1mb")
    jobqueue_settings(REDIS_URL=site.server.url, KEY_PREFIX=site.prefix)
    with pytest.raises(EnqueueError, match="out of memory"):
        NoopJob.perform_async("refused")
    worker = site.run_ready("--concurrency", "5")
    site.await_finished(*idents, "scheduled")
    wait_until(lambda: len(site.entries("retry")) == 5, SOON, "the retries")
    wait_until(lambda: len(site.entries("dead")) == 5, SOON, "the deaths")
    site.await_settled()
    with pytest.raises(EnqueueError, match="out of memory"):
        NoopJob.perform_in(60, "refused")
    assert not any(site.doubles())
    assert "refused" not in site.journal.starts
    assert count_lines(worker.output(), "Traceback (most", "record of this") == [10, 1]
    site.redis.config_set("maxmemory", 0)
    NoopJob.perform_async("accepted")
    site.await_finished("accepted")
    stop(site)


def test_a_flushed_redis_leaves_workers_that_work(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    site = make_site(private_redis())
    go_on = site.journal.path.with_name("go on")
    site.push_all(payload(WaitJob, f"running{n}", str(go_on)) for n in range(2))
    worker = site.run_ready("--concurrency", "3")
    site.await_started("running0", "running1")
    site.redis.flushall()
    site.push(NoopJob, "after")
    site.await_finished("after")
    go_on.touch()
    site.await_finished("running0", "running1")
    wait_until(lambda: site.counter("fenced") == 2, SOON, "the late results")
    site.await_settled()
    assert set(site.journal.starts.values()) == {1}
    assert worker.is_running
    stop(site)


#: Ways in which a server stands and does not serve, and the ways back.
AILMENTS: dict[str, tuple[list[tuple[str, ...]], list[tuple[str, ...]]]] = {
    "READONLY": ([("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
    "NOREPLICAS": (
        [("CONFIG", "SET", "min-replicas-to-write", "1")],
        [("CONFIG", "SET", "min-replicas-to-write", "0")],
    ),
    "NOPERM": (
        [("ACL", "SETUSER", acl.user(), "-@scripting", "-blmove")],
        [("ACL", "SETUSER", acl.user(), "+@all")],
    ),
}


@pytest.mark.parametrize("ailment", AILMENTS)
def test_a_server_that_does_not_serve_for_a_while_is_waited_for(
    private_redis: PrivateRedis, make_site: MakeSite, ailment: str
) -> None:
    site = make_site(private_redis())
    go_on = site.journal.path.with_name("go on")
    site.push_all(payload(WaitJob, f"running{n}", str(go_on)) for n in range(3))
    worker = site.run_ready("--concurrency", "4")
    site.await_started("running0", "running1", "running2")
    fall_ill, recover = AILMENTS[ailment]
    for command in fall_ill:
        site.redis.execute_command(*command)
    worker.wait_for_line("Redis is away")
    go_on.touch()
    site.await_finished("running0", "running1", "running2")
    if ailment == "READONLY":  # of them all, every loop meets this one, the heartbeat last
        elapse(5)
    for command in recover:
        site.redis.execute_command(*command)
    worker.wait_for_line("Redis back after")
    site.push(NoopJob, "after")
    site.await_finished("after")
    site.await_settled()
    assert set(site.journal.starts.values()) == {1}
    assert site.counter("fenced") == 0
    for pid in worker.children():
        # One line down and one back; the slowest loop tells when all are served again.
        wait_until(
            lambda pid=pid: news_of(worker, pid) == [1, 1],  # type: ignore[misc]
            SOON,
            lambda pid=pid: f"one line down and one back, not {news_of(worker, pid)}",  # type: ignore[misc]
        )
    assert "Traceback" not in worker.output()
    stop(site)


def news_of(worker: RunJobs, pid: int) -> list[int]:
    """Return how often a process said that Redis is away, and that it is back."""
    lines = [line for line in worker.output().splitlines() if f" {pid} " in line]
    return list(count_lines("\n".join(lines), "Redis is away", "Redis back"))


def test_a_short_pause_is_not_noticed(private_redis: PrivateRedis, make_site: MakeSite) -> None:
    site = make_site(private_redis())
    worker = site.run_ready("--processes", "2", "--concurrency", "5")
    idents = push_many(site, 300, 0.01)
    site.await_started("job50")
    site.redis.client_pause(1500)
    site.await_finished(*idents)
    site.await_settled()
    assert not any(site.doubles())
    assert "Redis is away" not in worker.output()
    stop(site)


def test_a_child_that_dies_while_redis_is_down_is_replaced_when_it_is_back(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    site = make_site(private_redis(appendfsync="always"))
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready("--concurrency", "2")
    site.await_started("running")
    site.server.kill9()
    worker.kill9_child()
    worker.wait_for_line("cannot start")
    worker.wait_for_line("died: exit code 75")
    site.server.start()
    wait_until(lambda: site.journal.starts["running"] == 2, SOON, "the second start")
    go_on.touch()
    site.await_finished("running")
    site.await_settled()
    assert worker.is_running
    stop(site)


# Keys of another type ----------------------------------------------------------------


@pytest.fixture
def spoilt(site: Site) -> Callable[..., Callable[[], None]]:
    """Put a string where a key should be; what is returned takes it away again."""

    def spoil(*names: str) -> Callable[[], None]:
        for name in names:
            site.redis.set(name, "spoilt")

        def heal() -> None:
            site.redis.delete(*names)

        return heal

    return spoil


Spoil = Callable[..., Callable[[], None]]


def test_results_that_have_nowhere_to_go_wait_and_keep_nobody_up(site: Site, spoilt: Spoil) -> None:
    heal = spoilt(site.keys.retry, site.keys.dead, site.keys.schedule)
    worker = site.run_ready("--concurrency", "3")
    site.push(FailJob, "to-retry", "ValueError")
    site.push(FailJob, "to-die", "ValueError", retry=0)
    site.push(SnoozeJob, "to-snooze", 60)
    site.push_all([payload("tests.jobsite.jobs.Missing", "unknown")])
    idents = push_many(site, 50, 0.01)
    site.await_finished(*idents)
    worker.wait_for_line("Redis refused the result")
    wait_until(lambda: sum(site.held().values()) == 4, SOON, "four results to be left")
    heal()
    wait_until(lambda: len(site.entries("retry")) == 1, SOON, "the retry")
    wait_until(lambda: len(site.entries("dead")) == 1, SOON, "the death")
    wait_until(lambda: len(site.entries("schedule")) == 2, SOON, "the snoozed and the unknown")
    site.await_settled()
    assert site.journal.starts["to-retry"] == site.journal.starts["to-die"] == 1
    stop(site)


@pytest.mark.parametrize("broken", ["schedule", "retry"])
def test_a_broken_set_of_waiting_jobs_does_not_stop_the_other(
    site: Site, spoilt: Spoil, broken: str
) -> None:
    heal = spoilt(f"{site.prefix}{broken}")
    other = site.keys.retry if broken == "schedule" else site.keys.schedule
    worker = site.run_ready()
    due = payload(NoopJob, "due", retry_count=0)
    site.redis.zadd(other, {due.encode(): time.time()})
    site.await_finished("due")
    worker.wait_for_line(f"the set {broken} cannot be read")
    heal()
    late = payload(NoopJob, "late", retry_count=0)
    site.redis.zadd(f"{site.prefix}{broken}", {late.encode(): time.time()})
    site.await_finished("late")
    assert count_lines(worker.output(), f"the set {broken} cannot be read", "Traceback") == [1, 0]
    stop(site)


def test_a_broken_queue_does_not_stop_the_others(site: Site, spoilt: Spoil) -> None:
    heal = spoilt(site.keys.queue("broken"))
    worker = site.run_ready("--queue", "broken,5", "--queue", "default")
    for number in range(5):
        site.push(NoopJob, f"job{number}")
        site.await_finished(f"job{number}")
    worker.wait_for_line("queue broken cannot be read")
    heal()
    site.push(NoopJob, "healed", queue="broken")
    site.await_finished("healed")
    site.await_settled()
    assert "Traceback" not in worker.output()
    stop(site)


def test_what_only_people_look_at_may_break(site: Site, spoilt: Spoil) -> None:
    heal = spoilt(
        site.keys.paused,
        site.keys.processed,
        site.keys.failed,
        site.keys.counters,
        site.keys.processes,
        site.keys.queues,
    )
    worker = site.run_ready()
    site.redis.lpush(site.keys.queue("default"), payload(NoopJob, "one").encode())
    site.redis.lpush(site.keys.queue("default"), payload(FailJob, "fails", "ValueError").encode())
    site.redis.zadd(site.keys.schedule, {payload(NoopJob, "due").encode(): time.time()})
    site.await_finished("one", "due")
    wait_until(lambda: len(site.entries("retry")) == 1, SOON, "the retry")
    worker.wait_for_line("the record of this process cannot be written")
    heal()
    wait_until(lambda: site.store.processes.identities(), SOON, "the next record")
    stop(site)


def test_leases_that_cannot_be_read_are_an_outage(site: Site, spoilt: Spoil) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready("--concurrency", "2")
    site.await_started("running")
    heal = spoilt(site.keys.leases)
    site.push(NoopJob, "waits")
    go_on.touch()
    worker.wait_for_line("Redis refuses to give or take jobs")
    assert "waits" not in site.journal.starts
    heal()
    site.await_finished("running", "waits")
    site.await_settled()
    assert set(site.journal.starts.values()) == {1}
    stop(site)


# The start ---------------------------------------------------------------------------


def test_a_redis_that_is_down_at_the_start_ends_in_code_75(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    server = private_redis()
    site = make_site(server)
    address = urlsplit(server.url)
    server.kill9()
    site = make_site(server, url=f"redis://:hunter2@127.0.0.1:{address.port}/0")
    worker = site.run(BOOT_TIMEOUT=1)
    assert worker.wait() == 75
    line = worker.wait_for_line("cannot reach Redis at")
    assert f"127.0.0.1:{address.port}" in worker.output()
    assert line
    assert count_lines(worker.output(), "hunter2", "Traceback") == [0, 0]


def test_a_redis_that_comes_up_in_time_is_waited_for(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    server = private_redis()
    site = make_site(server)
    server.kill9()
    worker = site.run(BOOT_TIMEOUT=30)
    worker.wait_for_line("cannot reach Redis at")
    server.start()
    site.push(NoopJob, "one")
    site.await_finished("one")
    stop(site)


def test_a_worker_that_waits_for_redis_can_be_stopped(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    server = private_redis()
    site = make_site(server)
    server.kill9()
    for arguments in ([], ["--burst"]):
        worker = site.run(*arguments, BOOT_TIMEOUT=60)
        worker.wait_for_line("cannot reach Redis at")
        worker.term()
        assert worker.wait() == 0
        assert "Traceback" not in worker.output()


def test_a_wrong_password_is_a_failed_start_that_does_not_tell_it(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    server = private_redis()
    with server.client() as client:
        client.config_set("requirepass", "s3cret")
        port = urlsplit(server.url).port
        site = make_site(server, url=f"redis://:hunter2@127.0.0.1:{port}/0")
        worker = site.run("--verbosity", "3", BOOT_TIMEOUT=30)
        assert worker.wait() == 1
        worker.wait_for_line("Redis refuses us")
        assert count_lines(worker.output(), "hunter2", "s3cret") == [0, 0]
        client.execute_command("AUTH", "s3cret")
        client.config_set("requirepass", "")


def test_a_server_that_throws_jobs_away_is_a_failed_start(
    private_redis: PrivateRedis, make_site: MakeSite
) -> None:
    site = make_site(private_redis(maxmemory_policy="allkeys-lru"))
    worker = site.run()
    assert worker.wait() == 1
    worker.wait_for_line("allkeys-lru")
    assert "ALLOW_EVICTION" in worker.output()
    site.push(NoopJob, "one")
    site.run_ready(ALLOW_EVICTION=True)
    site.await_finished("one")


def test_a_cluster_without_a_hash_tag_is_a_failed_start(tmp_path: Path) -> None:
    with ClusterNode() as server:
        # A cluster without slots refuses every key: the place must not look for any.
        site = Site(server, tmp_path / "cluster", prefix="t-untagged:")
        try:
            worker = site.run()
            assert worker.wait() == 1
            worker.wait_for_line("KEY_PREFIX")
            assert re.search(r"cluster", worker.output(), re.IGNORECASE)
        finally:
            server.kill9()
            site.close()
