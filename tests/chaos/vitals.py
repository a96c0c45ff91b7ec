"""Samples of what must not grow: memory, threads and descriptors of processes, keys of Redis."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import redis

from tests.acceptance.site import Site
from tests.support.processes import RunJobs

#: Keys of the charts, which name a minute and live for eight hours (three days: ``j|``): within
#: that time they grow by design, and not with the number of jobs.
CHARTS = re.compile(r"j\||h\||jq:tally:")

MB = 1024 * 1024

#: Which clock of another process clock_gettime reads: the one of its CPU time.
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Vital:
    """
    One thing that is sampled, and by how much its median may grow from first to last tenth.

    The larger of a share and an amount; both None where it is only shown.
    """

    name: str
    share: float | None = None
    amount: float | None = None

    @property
    def promise(self) -> str:
        """What is promised, in words."""
        return f"grows by {self.share or 0:.0%} or {self.amount:g} at most"

    def is_flat(self, first: float, last: float) -> bool | None:
        """Tell whether it has not grown; None where nothing is promised."""
        if self.share is None or self.amount is None:
            return None
        return last <= first + max(first * self.share, self.amount)


VITALS: Sequence[Vital] = (
    Vital("supervisor RSS MB", 0.05, 2),
    Vital("supervisor threads", 0, 0),
    Vital("supervisor fds", 0, 2),
    Vital("worker RSS MB", 0.10, 5),
    Vital("worker threads", 0, 1),
    Vital("worker fds", 0, 4),
    Vital("keys", 0.10, 10),
    Vital("chart keys"),
    Vital("Redis MB", 0.10, 1),
    Vital("chart MB"),
    Vital("waiting jobs", 0.50, 100),
)

#: What a process sees of its own memory. It grows by what nobody lets go; its resident set
#: grows also by what the allocators keep.
IN_USE: Sequence[Vital] = (
    Vital("worker objects", 0.02, 5_000),
    Vital("worker malloc in use MB", 0.05, 1),
    Vital("worker malloc free MB"),
)

Sample = Mapping[str, float]


def of_process(pid: int) -> tuple[float, int, int]:
    """
    Return a process's resident set in MB, its threads and its open descriptors.

    Raises: OSError or LookupError when it has just ended.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    rss = int(found["VmRSS"].split()[0]) / 1024
    return rss, int(found["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def in_use() -> Sample:
    """
    Return the ``IN_USE`` of this process when its garbage is collected.

    What ``malloc`` has is told by the GNU C library alone; it does not hold Python's
    objects, which are counted in blocks.
    """
    gc.collect()
    found = {"worker objects": float(sys.getallocatedblocks())}
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is not None:
        look.restype = _MallocInfo
        info = look()
        found["worker malloc in use MB"] = (info.uordblks + info.hblkhd) / MB
        found["worker malloc free MB"] = info.fordblks / MB
    return found


def mean(samples: Sequence[Sample]) -> Sample:
    """Return the means of samples of the same things."""
    return {name: fmean(sample[name] for sample in samples) for name in samples[0]}


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a running process has used so far, all its threads."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def of_worker(worker: RunJobs) -> Sample:
    """
    Return what a supervisor has, and what each of its children has on the average.

    Empty when one of them has just died: that is for others to find out.
    """
    try:
        parent = of_process(worker.pid)
        children = [of_process(pid) for pid in worker.children()]
    except (OSError, LookupError):
        return {}
    if not children:
        return {}
    means = [sum(values) / len(children) for values in zip(*children, strict=True)]
    names = ("RSS MB", "threads", "fds")
    return {
        **{f"supervisor {name}": float(value) for name, value in zip(names, parent, strict=True)},
        **{f"worker {name}": value for name, value in zip(names, means, strict=True)},
    }


def of_redis(site: Site) -> Sample:
    """Return the keys and the memory of Redis; empty while it is away."""
    client = site.redis
    try:
        keys = [key.decode() for key in client.scan_iter(match=f"{site.prefix}*", count=1000)]
        charts = [key for key in keys if CHARTS.match(key.removeprefix(site.prefix))]
        with client.pipeline(transaction=False) as pipe:
            for key in charts:
                pipe.memory_usage(key)
            weight = sum(size or 0 for size in pipe.execute()) / MB
        used = client.info("memory")["used_memory"] / MB
        waiting = sum(site.store.queues.sizes(site.store.queues.names()).values())
    except (redis.ConnectionError, redis.TimeoutError, ConnectionError):
        return {}
    return {
        "keys": len(keys) - len(charts),
        "chart keys": len(charts),
        "Redis MB": used - weight,
        "chart MB": weight,
        "waiting jobs": waiting,
    }


def tenths(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first tenth of the values, and of the last."""
    size = max(1, len(values) // 10)
    return median(values[:size]), median(values[-size:])


def shown(sample: Sample, number: Callable[[float], str] = lambda value: f"{value:.4g}") -> str:
    """Return a sample as words on one line."""
    return ", ".join(f"{name} {number(value)}" for name, value in sample.items())
