"""Drain: how fast full queues are emptied."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from benchmarks import machine, processes
from benchmarks.board import Board
from benchmarks.jobs import SLEEP, NoOp, Sleep
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue import Job
from django_jobqueue.connection import store

#: Jobs that every run begins with, to warm up; they are not counted.
WARM_UP = 1_000

#: One sleeping job for this many that do nothing.
SLEEPERS = 4

THREADS = 10
QUEUE = "queue:default"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race full workers against a BRPOP loop and against what the machine can do."""
    return [_no_ops(server, jobs, rounds), _sleepers(server, max(jobs // SLEEPERS, 100), rounds)]


def _no_ops(server: Server, jobs: int, rounds: int) -> Race:
    one = f"runjobs, 1 process x {THREADS} threads"
    two = f"runjobs, 2 processes x {THREADS} threads"
    loop = "BRPOP loop"
    limit = "raw limit: 100 by one script, 1 thread"
    race = Race.run(
        "drain",
        f"{jobs:,} jobs that do nothing",
        {
            one: lambda: _work(server, NoOp, jobs, count=1),
            loop: lambda: drain(server, NoOp, jobs, processes.rival("pop", QUEUE)),
            two: lambda: _work(server, NoOp, jobs, count=2),
            limit: lambda: drain(server, NoOp, jobs, processes.rival("batch", QUEUE)),
        },
        rounds,
    )
    race.compare(one, loop, "jobs/s", goal=3.0, later=5.0)
    race.compare(two, one, "jobs/s", goal=1.0, later=1.6)
    race.compare(one, limit, "jobs/s", later=0.4)
    race.hold_to(one, "CPU us a job", later=25.0, bound="most")
    return race


def _sleepers(server: Server, jobs: int, rounds: int) -> Race:
    ours, bare, ideal = f"runjobs, 1 process x {THREADS} threads", "bare threads", "ideal"
    race = Race.run(
        "drain-sleep",
        f"{jobs:,} jobs that sleep {SLEEP * 1000:g} ms",
        {
            ours: lambda: _work(server, Sleep, jobs, count=1),
            bare: lambda: _bare_threads(jobs),
            ideal: lambda: {"jobs/s": THREADS / SLEEP},
        },
        rounds,
    )
    race.compare(ours, ideal, "jobs/s", goal=0.95)
    race.compare(ours, bare, "jobs/s")
    return race


def _work(server: Server, job: type[Job], jobs: int, *, count: int) -> Figures:
    """Let the full worker drain, and ask its counters too."""
    flags = ("--processes", str(count), "--concurrency", str(THREADS))
    figures = drain(server, job, jobs, processes.worker(*flags))
    counters = store().stats.counters()
    if counters["processed"] != jobs + WARM_UP or counters["failed"]:
        raise RuntimeError(f"{jobs + WARM_UP} jobs were enqueued, and the counters say {counters}")
    return figures


def drain(
    server: Server, job: type[Job], jobs: int, worker: AbstractContextManager[Popen[bytes]]
) -> Figures:
    """Time jobs that appear in their queue all at once; the board tells that each of them ran."""
    queue = f"queue:{job.queue}"
    with server.client() as client, TemporaryDirectory(prefix="jqbench") as directory:
        client.flushall()
        board = new_board(Path(directory), jobs + WARM_UP)
        timed, first = range(jobs), range(jobs, jobs + WARM_UP)
        for key, numbers in (("timed", timed), ("first", first)):
            job.perform_bulk([(number,) for number in numbers])
            client.rename(queue, key)
        with worker as process:
            client.rename("first", queue)
            board.wait(first, process)
            pids = processes.family(process)
            before = machine.cpu_seconds(pids)
            client.rename("timed", queue)
            board.wait(timed, process)
            used = machine.cpu_seconds(pids) - before
    return {"jobs/s": jobs / board.took(timed), "CPU us a job": used / jobs * 1e6}


def _bare_threads(jobs: int) -> Figures:
    """Sleep as often as the jobs do, in as many threads: what this machine makes of the ideal."""

    def sleep() -> None:
        for _ in range(jobs // THREADS):
            time.sleep(SLEEP)

    began, used = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(THREADS):
            pool.submit(sleep)
    took, used = time.monotonic() - began, time.process_time() - used
    return {"jobs/s": jobs / took, "CPU us a job": used / jobs * 1e6}


def new_board(directory: Path, jobs: int) -> Board:
    """Return a blank board that the processes started from now on find."""
    path = directory / "board"
    os.environ["BENCHMARK_BOARD"] = str(path)
    return Board.make(path, jobs)
