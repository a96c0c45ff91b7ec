"""
Redis away, for less and for more than a lease, while long jobs run: nothing runs twice.

When it is back everybody's lease has ended, and everybody still runs its jobs: nobody may
take them (the grace rule). Meanwhile the workers keep quiet: little CPU, no growth, two lines.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.acceptance.site import LEASE, SOON, elapse, payload
from tests.chaos import findings, vitals
from tests.chaos.ending import drained
from tests.chaos.faults import kill_redis
from tests.chaos.options import Options
from tests.chaos.report import Report
from tests.chaos.scene import Scene, scene
from tests.jobsite.jobs import SleepJob, WaitJob
from tests.support.polling import wait_until
from tests.support.server import RedisServer

CONCURRENCY, GROUPS = 4, 2

#: Long jobs that run all the time: some threads of every process stay free.
LONG_JOBS = 8

#: Seconds that an outage lasts: the lengths take turns. And what comes after a long one: a judge
#: has to be a lease old again before it takes what it should not, and then has to look.
LENGTHS: Sequence[float] = (LEASE + 3.0, LEASE / 3)
GRACE = LEASE + 5.0

#: What a process may use of one CPU while Redis is away, and by how many MB it may grow.
CPU, GROWTH = 0.05, 4.0


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage: its seconds, and of the worst process the part of a CPU and the MB it grew."""

    seconds: float
    cpu: float
    growth: float


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Take Redis away so many times, with long jobs on all workers, and report."""
    go_on = directory / "go on"
    long_jobs = [f"long{number}" for number in range(LONG_JOBS)]
    short_jobs: list[str] = []
    outages: list[Outage] = []
    still_held: list[int] = []
    with scene(server, directory, options.seed, by_proxy=False, concurrency=CONCURRENCY) as stage:
        stage.crew.start(groups=GROUPS)
        stage.site.push_all(payload(WaitJob, ident, str(go_on)) for ident in long_jobs)
        stage.site.await_started(*long_jobs)
        pids = [p for worker in stage.crew.everybody() for p in (worker.pid, *worker.children())]
        for number in range(options.faults):
            _push(stage, short_jobs, options.jobs // options.faults)
            outages.append(_outage(stage, LENGTHS[number % len(LENGTHS)], pids))
            wait_until(
                partial(_is_back, stage, pids, number + 1), SOON, "everybody to find Redis again"
            )
            if outages[-1].seconds > LEASE:
                elapse(GRACE)  # time for a wrong judge: nobody may take what still runs
                still_held.append(sum(stage.site.held().values()))
        go_on.touch()
        is_settled = drained(stage, [*long_jobs, *short_jobs])
        away = _news(stage, "ERROR Redis is away", pids)
        stage.crew.stop()
        return _report(stage, outages, long_jobs, short_jobs, still_held, away, is_settled)


def _outage(stage: Scene, seconds: float, pids: Sequence[int]) -> Outage:
    cpu, rss = _cpu(pids), _rss(pids)
    began = time.monotonic()
    kill_redis(stage, seconds)
    lasted = time.monotonic() - began
    used = max(after - before for before, after in zip(cpu, _cpu(pids), strict=True))
    grown = max(after - before for before, after in zip(rss, _rss(pids), strict=True))
    return Outage(seconds, used / lasted, grown)


def _cpu(pids: Sequence[int]) -> list[float]:
    return [vitals.cpu_seconds(pid) for pid in pids]


def _rss(pids: Sequence[int]) -> list[float]:
    return [vitals.of_process(pid)[0] for pid in pids]


def _push(stage: Scene, idents: list[str], count: int) -> None:
    fresh = [f"short{len(idents) + number}" for number in range(count)]
    stage.site.push_all(payload(SleepJob, ident, 0.02) for ident in fresh)
    idents += fresh


def _news(stage: Scene, text: str, pids: Sequence[int]) -> set[int]:
    """Return how often each of these processes has said a line: one number when all did alike."""
    said = Counter(re.findall(rf"^\S+ \S+ (\d+) {text}", stage.site.output(), re.MULTILINE))
    return {said[str(pid)] for pid in pids}


def _is_back(stage: Scene, pids: Sequence[int], times: int) -> bool:
    return _news(stage, "WARNING Redis back", pids) == {times}


def _report(
    stage: Scene,
    outages: Sequence[Outage],
    long_jobs: Sequence[str],
    short_jobs: Sequence[str],
    still_held: Sequence[int],
    away: set[int],
    is_settled: bool,
) -> Report:
    made = Report(f"outage: Redis away {len(outages)} times, with a lease of {LEASE} s")
    made.tell("outages", ", ".join(f"{outage.seconds:g} s" for outage in outages))
    made.tell("jobs that ran all the time", len(long_jobs))
    made.tell("short jobs", len(short_jobs))
    findings.tell_losses(made, stage, [*long_jobs, *short_jobs], len(outages))
    doubles = stage.ledger.double_starts()
    made.promise("ran twice", doubles.total(), "nothing: who runs a job keeps it", not doubles)
    made.promise(
        "still held after it",
        sorted(set(still_held)),
        "every long job, by the process that runs it",
        set(still_held) == {len(long_jobs)},
    )
    cpu, growth = max(o.cpu for o in outages), max(o.growth for o in outages)
    made.promise("CPU while away", f"{cpu:.1%}", f"at most {CPU:.0%} of one", cpu <= CPU)
    made.promise("growth while away", f"{growth:.1f} MB", f"{GROWTH:g} MB", growth <= GROWTH)
    once = "one 'Redis is away' and one 'Redis back' of each process an outage"
    made.promise("lines", sorted(away), once, away == {len(outages)})
    findings.tell_end(made, stage, is_settled)
    return made
