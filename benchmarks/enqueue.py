"""Enqueue: what ``perform_async`` and ``perform_bulk`` add to the one command that they end in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.connection import AbstractConnection

from benchmarks.jobs import NoOp
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue.switches.switches import switches

#: Rows in one call of ``perform_bulk``.
PAGE = 1_000

#: Bulk jobs for each that is enqueued alone.
BULK = 4

#: Rounds for each that was asked for, and as much shorter: both must meet the
#: same moods of the machine.
ROUNDS = 4

QUEUE = "queue:default"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race both calls against a raw LPUSH of the same bytes on a plain client."""
    with server.client() as client:
        jobs = max(jobs // ROUNDS, 1)
        return [
            _one_by_one(client, jobs, rounds * ROUNDS),
            _in_bulk(client, jobs * BULK, rounds * ROUNDS),
        ]


def _one_by_one(client: redis.Redis, jobs: int, rounds: int) -> Race:
    made: list[bytes] = []

    def ours() -> Figures:
        client.delete(QUEUE)
        figures = timed(jobs, lambda: [NoOp.perform_async(number) for number in range(jobs)])
        made[:] = pushed(client, jobs)
        return figures

    def raw() -> Figures:
        client.delete(QUEUE)
        figures = timed(jobs, lambda: [client.lpush(QUEUE, job) for job in made])
        pushed(client, jobs)
        return figures

    race = Race.run(
        "enqueue",
        f"{jobs:,} jobs one by one",
        {"perform_async": ours, "LPUSH": raw},
        rounds,
    )
    race.compare("perform_async", "LPUSH", "jobs/s", later=0.85)
    race.compare("perform_async", "LPUSH", "CPU us a job")
    race.notes.append(cost(client, "perform_async", lambda: NoOp.perform_async(1)))
    return race


def _in_bulk(client: redis.Redis, jobs: int, rounds: int) -> Race:
    pages = range(0, jobs, PAGE)
    made: list[bytes] = []

    def ours() -> Figures:
        client.delete(QUEUE)
        figures = timed(
            jobs,
            lambda: [
                NoOp.perform_bulk([(number,) for number in range(at, min(at + PAGE, jobs))])
                for at in pages
            ],
        )
        made[:] = pushed(client, jobs)
        return figures

    def raw() -> Figures:
        client.delete(QUEUE)
        figures = timed(jobs, lambda: [client.lpush(QUEUE, *made[at : at + PAGE]) for at in pages])
        pushed(client, jobs)
        return figures

    race = Race.run(
        "enqueue-bulk",
        f"{jobs:,} jobs, {PAGE:,} a call",
        {"perform_bulk": ours, "LPUSH of ready-made bytes": raw},
        rounds,
    )
    race.compare("perform_bulk", "LPUSH of ready-made bytes", "jobs/s", later=0.6)
    rows = [(number,) for number in range(PAGE)]
    race.notes.append(cost(client, f"perform_bulk of {PAGE:,}", lambda: NoOp.perform_bulk(rows)))
    return race


def timed(jobs: int, push: Callable[[], object]) -> Figures:
    """Return the figures of a call that pushes so many jobs."""
    began, used = time.perf_counter(), time.process_time()
    push()
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"jobs/s": jobs / took, "CPU us a job": used / jobs * 1e6}


def pushed(client: redis.Redis, jobs: int) -> list[bytes]:
    """Return the payloads in the queue, the first pushed first. Raises where some are missing."""
    found: Any = client.lrange(QUEUE, 0, -1)
    if len(found) != jobs:
        raise RuntimeError(f"{jobs} jobs were pushed, and {len(found)} are in the queue")
    return list(reversed(found))


def cost(client: redis.Redis, what: str, call: Callable[[], object]) -> str:
    """Return what one call does on the wire and in the database."""
    call()  # the queue is registered with the first one
    switches().refresh(force=True)  # the mirror is read once a second, whoever asks
    client.config_resetstat()
    send = AbstractConnection.send_packed_command
    with (
        mock.patch.object(AbstractConnection, "send_packed_command", autospec=True) as sent,
        CaptureQueriesContext(connection) as queries,
    ):
        sent.side_effect = send
        call()
    stats: Any = client.info("commandstats")
    # CONFIG and INFO are the benchmark's own.
    commands = ", ".join(
        f"{stat['calls']} {name.removeprefix('cmdstat_').upper()}"
        for name, stat in stats.items()
        if not name.startswith(("cmdstat_config", "cmdstat_info"))
    )
    return f"one {what}: {sent.call_count} round trip(s) ({commands}), {len(queries)} SQL queries"
