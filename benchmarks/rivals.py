"""
What stands beside us, as bare as can be: ``python -m benchmarks.rivals NAME KEY``.

None of them is safe: what a killed rival holds is gone, except from ``batch``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from benchmarks.board import Board

#: Jobs that ``batch`` claims with one script.
BATCH = 100

#: Claim a batch into a hash, and drop what was claimed by the call before.
CLAIM = """
if #ARGV > 0 then
  redis.call('HDEL', KEYS[2], unpack(ARGV))
end
local jobs = redis.call('LRANGE', KEYS[1], -100, -1)
if #jobs > 0 then
  local claims = {}
  for n, job in ipairs(jobs) do
    claims[2 * n - 1] = n
    claims[2 * n] = job
  end
  redis.call('HSET', KEYS[2], unpack(claims))
  redis.call('LTRIM', KEYS[1], 0, -#jobs - 1)
end
return jobs
"""

#: Move one due entry of a sorted set, as Sidekiq does, and return it.
POP_DUE = """
local found = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 1)
if found[1] then
  redis.call('ZREM', KEYS[1], found[1])
end
return found[1]
"""


def connect() -> redis.Redis:
    """Return a client of the benchmark's server."""
    return redis.Redis.from_url(os.environ["BENCHMARK_REDIS_URL"], protocol=2)


def pop(key: str) -> None:
    """Take jobs one by one with BRPOP and run them, for ever."""
    client = connect()
    perform = _performers()
    while True:
        found: Any = client.brpop([key])
        job = json.loads(found[1])
        perform[job["class"]](*job["args"])


def batch(key: str) -> None:
    """Take jobs a hundred at a time with one script and run them in one thread, for ever."""
    client = connect()
    perform = _performers()
    claim = client.register_script(CLAIM)
    done: list[int] = []
    while True:
        jobs = claim(keys=[key, f"{key}:claims"], args=done)
        for raw in jobs:
            job = json.loads(raw)
            perform[job["class"]](*job["args"])
        done = list(range(1, len(jobs) + 1))
        if not jobs:
            time.sleep(0.001)


def handover(key: str) -> None:
    """Note how long each item of a list was on its way, for ever."""
    client = connect()
    board = _board()
    while True:
        found: Any = client.blpop([key])
        number, sent_at = found[1].split()
        board.ran(int(number), float(sent_at))


def promote(client: redis.Redis, key: str, queue: str) -> Iterator[bytes]:
    """Move due jobs from a sorted set to a queue one by one, and yield each."""
    pop_due = client.register_script(POP_DUE)
    while raw := pop_due(keys=[key], args=[time.time()]):
        client.lpush(queue, raw)
        yield raw


def _performers() -> dict[str, Callable[..., None]]:
    board = _board()

    def no_op(number: int) -> None:
        board.ran(number, time.monotonic())

    return {"benchmarks.jobs.NoOp": no_op}


def _board() -> Board:
    return Board(Path(os.environ["BENCHMARK_BOARD"]))


if __name__ == "__main__":
    {"pop": pop, "batch": batch, "handover": handover}[sys.argv[1]](sys.argv[2])
