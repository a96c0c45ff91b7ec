"""What stands in Redis under a test's prefix, read raw; and how often the wire was used."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from django_jobqueue import clock
from tests.support.server import RedisServer


class Inside:
    """Looks at one prefix through a client of its own, past the package."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client: Any = client
        self.prefix = prefix

    def key(self, name: str) -> str:
        """Return the full name of a key."""
        return self.prefix + name

    def names(self) -> set[str]:
        """Return the names of all keys, without the prefix."""
        found = self.client.scan_iter(match=f"{self.prefix}*", count=1000)
        return {name.decode()[len(self.prefix) :] for name in found}

    def raw(self, queue: str = "default") -> list[bytes]:
        """Return the bytes of a queue, the next to run first."""
        found: list[bytes] = self.client.lrange(self.key(f"queue:{queue}"), 0, -1)
        return found[::-1]

    def jobs(self, queue: str = "default") -> list[dict[str, Any]]:
        """Return the jobs of a queue, the next to run first."""
        return [json.loads(raw) for raw in self.raw(queue)]

    def args(self, queue: str = "default") -> list[list[Any]]:
        """Return the arguments of the jobs of a queue, the next to run first."""
        return [job["args"] for job in self.jobs(queue)]

    def entries(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Return the jobs of a sorted set and their scores, the earliest first."""
        found = self.client.zrange(self.key(name), 0, -1, withscores=True)
        return [(json.loads(member), score) for member, score in found]

    def entry(self, name: str) -> tuple[dict[str, Any], float]:
        """Return the one job of a sorted set and its score."""
        (found,) = self.entries(name)
        return found

    def put(self, name: str, raw: bytes, score: float) -> None:
        """Add to a sorted set."""
        self.client.zadd(self.key(name), {raw: score})


@pytest.fixture
def inside(redis_server: RedisServer, key_prefix: str) -> Iterator[Inside]:
    """What stands in Redis under the prefix of this test."""
    with redis_server.client() as client:
        yield Inside(client, key_prefix)


@pytest.fixture
def count_round_trips(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """
    Return a function that tells how often something was sent to Redis since its last call.

    Time stands still, unless the test has it in hand already: what is sent once a second, as
    the look at the switches is, would be counted wherever a machine is slow enough.
    """
    if clock.monotonic is time.monotonic:
        moment = time.monotonic()
        monkeypatch.setattr(clock, "monotonic", lambda: moment)
    sent: list[Any] = []
    send: Any = AbstractConnection.send_packed_command

    def spy(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        # Not what a new connection asks: to be let in, and which node of a cluster it wants.
        if check_health and b"CLUSTER\r\n" not in b"".join(command):
            sent.append(command)
        send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", spy)

    def count() -> int:
        counted = len(sent)
        sent.clear()
        return counted

    return count
