"""One turn of a peer: everything about it that is measured while Redis is its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from benchmarks.board import Board
from benchmarks.peers.fleet import Fleet
from benchmarks.peers.peer import Peer
from benchmarks.peers.producer import Producer
from benchmarks.race import Figures
from benchmarks.server import Server

#: The figures of a turn.
ONE, TWO = "1 process, jobs/s", "2 processes, jobs/s"
ENQUEUE, BULK = "enqueue, jobs/s", "bulk, jobs/s"
P50, P99 = "p50 ms", "p99 ms"
CPU, MEMORY = "CPU s / 1,000 jobs", "idle PSS MB"

#: Jobs that a fleet begins with at most, and the part of its jobs; they are not counted.
WARM_UP, WARM_UP_PART = 100, 10

#: The fewest jobs that are counted, however slow a peer is.
LEAST = 100

#: Jobs that tell how long they were on their way: those of so many seconds, within bounds.
WAITS, FEWEST_WAITS, SECONDS = 500, 30, 3.0


def jobs_of(peer: Peer, jobs: int) -> int:
    """Return how many of the jobs of a run this peer gets."""
    return max(LEAST, round(jobs * peer.share))


def waits_of(peer: Peer) -> int:
    """Return how many jobs measure its latency."""
    return max(FEWEST_WAITS, min(WAITS, round(SECONDS / peer.pause)))


def turn(server: Server, peer: Peer, jobs: int) -> Figures:
    """
    Enqueue, let one process work, then two, and ask the counters.

    Raises:
        RuntimeError: not every job ran, or the counters say so.

    """
    with server.client() as client, TemporaryDirectory(prefix="jqpeer") as directory:
        peer.start_fresh(client)
        return _Turn(peer, jobs_of(peer, jobs), client, server.url, Path(directory)).figures()


class _Turn:
    def __init__(
        self, peer: Peer, jobs: int, client: redis.Redis, url: str, directory: Path
    ) -> None:
        self._peer = peer
        self._client = client
        self._jobs = jobs
        self._waits = waits_of(peer)
        self._first = min(WARM_UP, jobs // WARM_UP_PART)
        self._total = 2 * (self._first + jobs) + self._waits
        path = directory / "board"
        self._board = Board.make(path, self._total)
        self._environment = peer.at(url, board=path)

    def figures(self) -> Figures:
        figures: Figures = {}
        # The numbers of the jobs, in the order in which they are enqueued.
        first, one, waits, second, two = _ranges(
            self._first, self._jobs, self._waits, self._first, self._jobs
        )
        with Producer(self._peer.producer_command(), self._environment) as producer:
            producer.one_by_one(first)
            self._put_by("first")
            figures[ENQUEUE] = producer.one_by_one(one)["jobs/s"]
            self._put_by("one")
            with Fleet(self._peer.fleet(1), self._environment) as fleet:
                self._warm(fleet, first)
                figures[MEMORY] = fleet.memory()
                producer.hand_over(waits, self._peer.pause)
                self._board.wait(waits, fleet)
                fleet.rest()
                used = fleet.cpu_seconds()
                figures[ONE] = self._drain(fleet, "one", one)
                figures[CPU] = (fleet.cpu_seconds() - used) / self._jobs * 1000
            producer.one_by_one(second)
            self._put_by("first")
            if self._peer.has_bulk:
                figures[BULK] = producer.in_bulk(two)["jobs/s"]
            else:
                producer.one_by_one(two)
            self._put_by("two")
            with Fleet(self._peer.fleet(2), self._environment) as fleet:
                self._warm(fleet, second)
                figures[TWO] = self._drain(fleet, "two", two)
        self._ask_counter()
        ways = self._board.waits(waits)
        figures[P50] = ways[len(ways) // 2] * 1000
        figures[P99] = ways[len(ways) * 99 // 100] * 1000
        return figures

    def _put_by(self, key: str) -> None:
        """Take what is in the queue out of the workers' sight: it appears all at once later."""
        self._client.rename(self._peer.queue, key)

    def _warm(self, fleet: Fleet, numbers: range) -> None:
        self._client.rename("first", self._peer.queue)
        self._board.wait(numbers, fleet)
        fleet.rest()

    def _drain(self, fleet: Fleet, key: str, numbers: range) -> float:
        self._client.rename(key, self._peer.queue)
        self._board.wait(numbers, fleet)
        if waiting := self._peer.waiting(self._client):
            raise RuntimeError(f"every job ran, and {waiting} still wait")
        return self._jobs / self._board.took(numbers)

    def _ask_counter(self) -> None:
        counted = self._peer.counted(self._client)
        if counted is not None and counted != self._total:
            raise RuntimeError(f"{self._total} jobs were enqueued, and {counted} were counted")


def _ranges(*lengths: int) -> list[range]:
    """Return ranges of these lengths, each from where the one before ends."""
    found, start = [], 0
    for length in lengths:
        found.append(range(start, start + length))
        start += length
    return found
