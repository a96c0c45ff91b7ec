"""Grow: a job costs the same in a long queue, among many queues, in many bytes, in a big crowd."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from benchmarks import machine, processes
from benchmarks.drain import QUEUE, THREADS, new_board
from benchmarks.enqueue import pushed
from benchmarks.jobs import Blob, NoOp
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue.connection import store

#: What each is compared with, and how far it grows.
FEW, MANY = 1_000, 1_000_000
ONE_QUEUE, QUEUES = 1, 50
BYTES = (200, 10_000, 100_000)
ALONE, CROWD = 1, 100

#: Jobs that every run begins with, to warm up; they are not counted.
WARM_UP = 500

#: The fewest jobs of a run, and the bytes that the payloads of one may have together.
LEAST, ALL_BYTES = 200, 50_000_000

#: What is waiting in front of nobody, under another name while a run fills its queue.
BACKLOG = "backlog"

#: Payloads in one command while Redis is filled.
CHUNK = 5_000

#: Seconds for which the crowd lives on without a beat.
FOREVER = 3600.0

#: A job of the grown is to cost no more than so many of the small; equal runs differ, so that
#: the ratio itself says more than the verdict.
FLAT = 1.5

#: Of the worker and of Redis together: what a job costs, however busy the machine is.
COST = "CPU us a job"
COST_OF_BYTES = "CPU us a kB"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Drain equal jobs among little and among much, in turn."""
    return [
        _long_queue(server, jobs, rounds),
        _many_queues(server, jobs, rounds),
        _big_payloads(server, jobs, rounds),
        _crowd(server, jobs, rounds),
    ]


def _long_queue(server: Server, jobs: int, rounds: int) -> Race:
    """Hold jobs that have a million behind them against jobs that come a thousand at a time."""
    short, long = f"{FEW:,} in the queue", f"{MANY:,} in the queue"
    with server.client() as client:
        client.flushall()
        _pile_up(client, MANY, number=jobs + WARM_UP)
        race = Race.run(
            "grow-queue",
            f"{jobs:,} jobs out of a queue",
            {
                short: partial(_drain, server, jobs, batch=FEW),
                long: partial(_drain, server, jobs, behind=BACKLOG),
            },
            rounds,
        )
        client.delete(BACKLOG)
    race.compare(long, short, COST, goal=FLAT, bound="most")
    race.compare(long, short, "us a job")
    return race


def _many_queues(server: Server, jobs: int, rounds: int) -> Race:
    one, many = f"{ONE_QUEUE} queue", f"{QUEUES} queues"
    race = Race.run(
        "grow-queues",
        f"{jobs:,} jobs in all of them together",
        {
            one: partial(_drain, server, jobs, queues=_names(ONE_QUEUE)),
            many: partial(_drain, server, jobs, queues=_names(QUEUES)),
        },
        rounds,
    )
    race.compare(many, one, COST, goal=FLAT, bound="most")
    race.compare(many, one, "us a job")
    return race


def _big_payloads(server: Server, jobs: int, rounds: int) -> Race:
    names = {size: f"{size:,} bytes" for size in BYTES}
    race = Race.run(
        "grow-bytes",
        "jobs with an argument of so many bytes",
        {
            name: partial(_drain, server, max(LEAST, min(jobs, ALL_BYTES // size)), size=size)
            for size, name in names.items()
        },
        rounds,
    )
    small, middle, big = names.values()
    race.compare(big, small, COST_OF_BYTES, goal=FLAT, bound="most")
    race.compare(big, middle, COST_OF_BYTES, goal=FLAT, bound="most")
    return race


def _crowd(server: Server, jobs: int, rounds: int) -> Race:
    alone, crowd = f"{ALONE} process in the registry", f"{CROWD} processes in the registry"
    race = Race.run(
        "grow-processes",
        f"{jobs:,} jobs for one of them",
        {
            alone: partial(_drain, server, jobs),
            crowd: partial(_drain, server, jobs, others=CROWD - ALONE),
        },
        rounds,
    )
    race.compare(crowd, alone, COST, goal=FLAT, bound="most")
    race.compare(crowd, alone, "us a job")
    return race


def _drain(
    server: Server,
    jobs: int,
    *,
    batch: int | None = None,
    behind: str | None = None,
    queues: Sequence[str] = ("default",),
    size: int = 0,
    others: int = 0,
) -> Figures:
    """
    Time jobs that appear in their queues all at once, ``batch`` of them at a time.

    ``behind`` is a list that waits behind them, ``size`` the bytes of an argument, and
    ``others`` the processes that are registered beside the one that works.
    """
    with server.client() as client, TemporaryDirectory(prefix="jqbench") as directory:
        _sweep(client)
        # One entry more than there are jobs: that of whoever waits behind them.
        board = new_board(Path(directory), jobs + WARM_UP + 1)
        timed, first = range(jobs), range(jobs, jobs + WARM_UP)
        _put_by(client, "first", first, queues, size)
        batches = list(_cut(timed, batch or jobs))
        for number, part in enumerate(batches):
            _put_by(client, str(number), part, queues, size)
        _register(others)
        flags = ("--concurrency", str(THREADS), "--queue", ",".join(queues))
        with processes.worker(*flags) as worker:
            _appear(client, "first", queues)
            board.wait(first, worker)
            pids = processes.family(worker)
            took, used, done = 0.0, 0.0, 0
            for number, part in enumerate(batches):
                if behind is not None:
                    _join(client, behind, f"{number}:{queues[0]}")
                before = _used(client, pids)
                _appear(client, str(number), queues)
                board.wait(part, worker)
                used += _used(client, pids) - before
                took += board.took(part)
                # Of those behind, the first are done when we look.
                done += len(part) if behind is None else MANY + len(part) - client.llen(QUEUE)
    cost = used / done * 1e6
    figures = {"us a job": took / jobs * 1e6, COST: cost}
    return figures | ({COST_OF_BYTES: cost / size * 1000} if size else {})


def _names(count: int) -> list[str]:
    return [f"grow{number}" for number in range(count)]


def _cut(numbers: range, length: int) -> Iterator[range]:
    for at in range(numbers.start, numbers.stop, length):
        yield range(at, min(at + length, numbers.stop))


def _put_by(
    client: redis.Redis, key: str, numbers: range, queues: Sequence[str], size: int
) -> None:
    """Enqueue jobs in turn to their queues, and take them out of the worker's sight."""
    for at, queue in enumerate(queues):
        part = numbers[at :: len(queues)]
        if size:
            Blob.set(queue=queue).perform_bulk([(number, "x" * size) for number in part])
        else:
            NoOp.set(queue=queue).perform_bulk([(number,) for number in part])
        client.rename(f"queue:{queue}", f"{key}:{queue}")


def _appear(client: redis.Redis, key: str, queues: Sequence[str]) -> None:
    with client.pipeline() as pipe:
        for queue in queues:
            pipe.rename(f"{key}:{queue}", f"queue:{queue}")
        pipe.execute()


def _pile_up(client: redis.Redis, jobs: int, *, number: int) -> None:
    """Make a list of so many jobs that note under one number that they ran."""
    NoOp.perform_async(number)
    [raw] = pushed(client, 1)
    client.delete(QUEUE)
    jid = str(json.loads(raw)["jid"])
    before, after = raw.decode().split(jid)
    start = int(jid, 16) >> 24 << 24  # room for as many, in as many digits
    for first in range(0, jobs, CHUNK):
        jids = range(start + first, start + min(first + CHUNK, jobs))
        client.lpush(BACKLOG, *[f"{before}{each:024x}{after}" for each in jids])


def _join(client: redis.Redis, behind: str, key: str) -> None:
    """Let a copy of the list ``behind`` wait behind the jobs of the list ``key``."""
    jobs: Any = client.lrange(key, 0, -1)
    client.copy(behind, key, replace=True)
    for at in range(0, len(jobs), CHUNK):
        client.rpush(key, *jobs[at : at + CHUNK])  # what is taken first, stands last


def _register(others: int) -> None:
    """Let so many processes that do nothing be alive, as their beats would."""
    for number in range(others):
        identity = f"crowd:{number + 1}:{number:012x}"
        store().claims.join(identity, FOREVER)
        store().processes.record(identity, {"info": "{}", "busy": 0, "beat": time.time()}, {})


def _sweep(client: redis.Redis) -> None:
    """Empty Redis but for the backlog, which takes long to make."""
    keys: Any = client.keys()
    for key in keys:
        if key != BACKLOG.encode():
            client.delete(key)


def _used(client: redis.Redis, pids: list[int]) -> float:
    """Return the CPU seconds of the worker and of Redis so far."""
    info: Any = client.info("cpu")
    redis_used = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
    return machine.cpu_seconds(pids) + redis_used
