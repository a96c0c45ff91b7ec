"""Async: how close many waiting jobs on one event loop come to waiting all at once."""

from __future__ import annotations

import asyncio
import os
import time

from benchmarks import processes
from benchmarks.aio.jobs import SLEEP, AsyncSleep
from benchmarks.drain import drain
from benchmarks.race import Figures, Race
from benchmarks.server import Server

#: Jobs at a time.
SLOTS = 100


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race the event loop of a worker against bare tasks and against no time lost at all."""
    # Only the workers of this measure have an app with async jobs, and so an event loop.
    os.environ["BENCHMARK_APPS"] = "benchmarks.aio"
    try:
        return [_sleepers(server, jobs, rounds)]
    finally:
        del os.environ["BENCHMARK_APPS"]


def _sleepers(server: Server, jobs: int, rounds: int) -> Race:
    ours, bare, ideal = f"runjobs, an event loop of {SLOTS}", "bare tasks", "ideal"
    flags = ("--async-concurrency", str(SLOTS))
    race = Race.run(
        "async",
        f"{jobs:,} async jobs that sleep {SLEEP * 1000:g} ms",
        {
            ours: lambda: drain(server, AsyncSleep, jobs, processes.worker(*flags)),
            bare: lambda: asyncio.run(_bare_tasks(jobs, SLEEP)),
            ideal: lambda: {"jobs/s": SLOTS / SLEEP},
        },
        rounds,
    )
    race.compare(ideal, ours, "jobs/s", goal=1.2, bound="most")
    race.compare(ours, bare, "jobs/s")
    return race


async def _bare_tasks(jobs: int, seconds: float) -> Figures:
    """Sleep as often as the jobs do, in as many tasks: what this machine makes of the ideal."""

    async def sleep() -> None:
        for _ in range(jobs // SLOTS):
            await asyncio.sleep(seconds)

    began = time.monotonic()
    await asyncio.gather(*(sleep() for _ in range(SLOTS)))
    return {"jobs/s": jobs / (time.monotonic() - began)}
