"""Promote: how fast scheduled jobs that are due reach their queues."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import redis

from benchmarks import rivals
from benchmarks.jobs import NoOp
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue.client.client import client_chain
from django_jobqueue.connection import store
from django_jobqueue.scheduling.poller import Poller

QUEUE, SCHEDULE = "queue:default", "schedule"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race the poller against a loop that pops one due job a round trip, as Sidekiq does."""
    with server.client() as client:
        ours, one_by_one = "poller", "one by one: pop by script, LPUSH"
        race = Race.run(
            "promote",
            f"{jobs:,} due jobs",
            {
                ours: lambda: _promoted(client, jobs, _poll),
                one_by_one: lambda: _promoted(client, jobs, _pop),
            },
            rounds,
        )
    race.compare(ours, one_by_one, "jobs/s")
    race.hold_to(ours, "jobs/s", later=20_000)
    return [race]


def _promoted(client: redis.Redis, jobs: int, promote: Any) -> Figures:
    client.flushall()
    NoOp.perform_bulk([(number,) for number in range(jobs)], at=time.time() + 3600)
    client.zunionstore(SCHEDULE, {SCHEDULE: 0.0})  # all of them are long overdue
    began, used = time.perf_counter(), time.process_time()
    promote(client)
    took, used = time.perf_counter() - began, time.process_time() - used
    if client.llen(QUEUE) != jobs or client.zcard(SCHEDULE):
        raise RuntimeError(f"{client.llen(QUEUE)} of {jobs} jobs were promoted")
    return {"jobs/s": jobs / took, "CPU us a job": used / jobs * 1e6}


def _poll(client: redis.Redis) -> None:
    poller = Poller(store(), "benchmark", client_chain())
    while not poller.nothing_due:
        poller.tick()


def _pop(client: redis.Redis) -> None:
    deque(rivals.promote(client, SCHEDULE, QUEUE), maxlen=0)
