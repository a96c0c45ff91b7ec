"""Unique: what the lock of a unique job adds to its push."""

from __future__ import annotations

import redis

from benchmarks.enqueue import BULK, PAGE, ROUNDS, cost, pushed, timed
from benchmarks.jobs import NoOp, Unique
from benchmarks.race import Figures, Race
from benchmarks.server import Server


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Race unique jobs against the same jobs without a lock."""
    with server.client() as client:
        jobs = max(jobs // ROUNDS, 1)
        return [
            _one_by_one(client, jobs, rounds * ROUNDS),
            _in_bulk(client, jobs * BULK, rounds * ROUNDS),
        ]


def _one_by_one(client: redis.Redis, jobs: int, rounds: int) -> Race:
    def push(job: type[NoOp]) -> Figures:
        client.flushall()
        figures = timed(jobs, lambda: [job.perform_async(number) for number in range(jobs)])
        pushed(client, jobs)
        return figures

    race = Race.run(
        "unique",
        f"{jobs:,} jobs one by one",
        {"unique": lambda: push(Unique), "plain": lambda: push(NoOp)},
        rounds,
    )
    race.compare("unique", "plain", "jobs/s")
    race.compare("unique", "plain", "CPU us a job")
    race.notes.append(cost(client, "perform_async of a duplicate", lambda: Unique.perform_async(1)))
    return race


def _in_bulk(client: redis.Redis, jobs: int, rounds: int) -> Race:
    pages = [
        [(number,) for number in range(at, min(at + PAGE, jobs))] for at in range(0, jobs, PAGE)
    ]

    def push(job: type[NoOp]) -> Figures:
        figures = timed(jobs, lambda: [job.perform_bulk(page) for page in pages])
        pushed(client, jobs)  # of duplicates none
        return figures

    def push_new(job: type[NoOp]) -> Figures:
        client.flushall()
        return push(job)

    race = Race.run(
        "unique-bulk",
        f"{jobs:,} jobs, {PAGE:,} a call",
        {
            "unique": lambda: push_new(Unique),
            "duplicates only": lambda: push(Unique),
            "plain": lambda: push_new(NoOp),
        },
        rounds,
    )
    race.compare("unique", "plain", "jobs/s", goal=1 / 3)
    race.compare("duplicates only", "plain", "jobs/s")
    race.compare("unique", "plain", "CPU us a job")
    client.flushall()
    Unique.perform_bulk(pages[0])
    what = f"perform_bulk of {len(pages[0]):,} duplicates"
    race.notes.append(cost(client, what, lambda: Unique.perform_bulk(pages[0])))
    return race
