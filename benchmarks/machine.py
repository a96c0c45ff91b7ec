"""What the machine knows of itself and of a process: versions, CPU seconds, time stolen, memory."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

import django
import redis

#: Which clock of another process clock_gettime reads: the one of its CPU time, all threads.
_CPUCLOCK_SCHED = 2

#: Clock ticks a second in /proc/stat.
_TICKS = os.sysconf("SC_CLK_TCK")


def facts(server: str) -> dict[str, str]:
    """Return what a figure depends on: machine and versions."""
    try:
        import hiredis

        parser = f"hiredis {hiredis.__version__}"
    except ImportError:
        parser = "no hiredis"
    return {
        "machine": f"{os.cpu_count()} x {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Django": django.get_version(),
        "redis-py": f"{redis.__version__}, {parser}",
        "server": server,
    }


def stolen() -> float:
    """Return the CPU seconds that the host has kept from this machine since it started."""
    return _cpu_line()[7] / _TICKS


def load() -> str:
    """Return the load averages: who else is at work here."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds that running processes have used so far, all threads."""
    return sum(time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED) for pid in pids)


def children(pid: int) -> list[int]:
    """Return the pids of the children that the main thread of a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(pid: int) -> dict[str, float]:
    """Return the resident set and the proportional set of a process in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kib = line.split()[:2]
        found[name] = int(kib) / 1024
    return {"RSS": found["Rss:"], "PSS": found["Pss:"]}


def resident() -> float:
    """Return the resident set of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_line() -> list[int]:
    with open("/proc/stat", encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:]]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
