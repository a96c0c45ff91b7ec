"""Latency: how long an idle worker takes from an enqueue to the start of the job."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from benchmarks import machine, processes
from benchmarks.drain import new_board
from benchmarks.jobs import Handover
from benchmarks.race import Figures, Race
from benchmarks.server import Server

#: Seconds between two jobs: the worker is idle again each time.
PAUSE = 0.005

#: Jobs that every run begins with; they are not counted.
WARM_UP = 50

ITEMS = "benchmark:items"

Send = Callable[[int, float], object]


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race an idle worker against a bare BLPOP between two Python processes."""
    with server.client() as client:

        def push(number: int, sent_at: float) -> None:
            client.lpush(ITEMS, f"{number} {sent_at}")

        race = Race.run(
            "latency",
            f"{jobs:,} jobs, one every {PAUSE * 1000:g} ms, into an idle worker",
            {
                "worker": lambda: _hand_over(
                    server, jobs, processes.worker("--concurrency", "10"), Handover.perform_async
                ),
                "BLPOP": lambda: _hand_over(server, jobs, processes.rival("handover", ITEMS), push),
            },
            rounds,
        )
    race.compare("worker", "BLPOP", "p50 ms", goal=3.0, later=2.0, bound="most")
    race.compare("worker", "BLPOP", "p99 ms", later=2.0, bound="most")
    return [race]


def _hand_over(
    server: Server, jobs: int, receiver: AbstractContextManager[Popen[bytes]], send: Send
) -> Figures:
    """Send jobs that carry the time, and read from the board when they were started."""
    with server.client() as client, TemporaryDirectory(prefix="jqbench") as directory:
        client.flushall()
        board = new_board(Path(directory), jobs + WARM_UP)
        timed, first = range(WARM_UP, WARM_UP + jobs), range(WARM_UP)
        with receiver as process:
            _send_slowly(first, send)
            board.wait(first, process)
            pids = processes.family(process)
            before = machine.cpu_seconds(pids)
            _send_slowly(timed, send)
            board.wait(timed, process)
            used = machine.cpu_seconds(pids) - before
    waits = board.waits(timed)
    return {
        "p50 ms": waits[len(waits) // 2] * 1000,
        "p99 ms": waits[len(waits) * 99 // 100] * 1000,
        "CPU us a job": used / jobs * 1e6,
    }


def _send_slowly(numbers: range, send: Send) -> None:
    due = time.monotonic()
    for number in numbers:
        due += PAUSE
        time.sleep(max(0.0, due - time.monotonic()))
        send(number, time.monotonic())
