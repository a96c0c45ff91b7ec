"""Memory: what an idle worker process holds beyond a shell of the same project."""

from __future__ import annotations

import time

from benchmarks import machine, processes
from benchmarks.race import Figures, Race
from benchmarks.server import Server

#: Seconds that a process is left alone before it is looked at.
SETTLE = 2.0


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Hold the resident memory of an idle worker child against ``manage.py shell``."""
    with server.client() as client:
        client.flushall()
    ours, shell, family = "idle child of runjobs", "manage.py shell", "runjobs, child and parent"
    race = Race.run(
        "memory",
        "1 process x 10 threads that has not run a job",
        {ours: _child, shell: _shell, family: _family},
        rounds,
    )
    race.compare(ours, shell, "RSS MB", goal=15.0, bound="most", difference=True)
    race.compare(family, shell, "PSS MB", difference=True)
    return [race]


def _child() -> Figures:
    with processes.worker("--concurrency", "10") as worker:
        [child] = processes.wait_for_children(worker, 1)
        return _held(child)


def _family() -> Figures:
    with processes.worker("--concurrency", "10") as worker:
        [child] = processes.wait_for_children(worker, 1)
        return _held(child, worker.pid)


def _shell() -> Figures:
    with processes.shell() as shell:
        return _held(shell.pid)


def _held(*pids: int) -> Figures:
    """Return the memory of processes; pages that they share count for each of them in RSS."""
    time.sleep(SETTLE)
    each = [machine.memory(pid) for pid in pids]
    return {f"{name} MB": sum(held[name] for held in each) for name in ("RSS", "PSS")}
