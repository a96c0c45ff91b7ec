"""
Zombies: processes frozen past their lease, which wake up and deliver.

Others have done their jobs by then, so each late result must be refused, and no job that a
zombie had not begun may be begun by it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.site import LEASE, SOON, payload
from tests.chaos import findings
from tests.chaos.ending import drained
from tests.chaos.faults import awaited
from tests.chaos.options import Options
from tests.chaos.report import Report
from tests.chaos.scene import Scene, scene
from tests.jobsite.jobs import SleepJob
from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.server import RedisServer

CONCURRENCY = 5

#: Seconds of one job, and groups of two processes that are frozen together: one lease for all.
LENGTH, GROUPS = 0.04, 3

#: Jobs that wait at least when somebody is to be frozen.
SUPPLY = 300


@dataclass(slots=True)
class Zombie:
    """A process that was frozen, and what it held then: idents, begun or not."""

    pid: int
    identity: str
    begun: set[str]
    unbegun: set[str]


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Freeze processes in rounds until there were so many zombies, and report."""
    zombies: list[Zombie] = []
    idents: list[str] = []
    with scene(server, directory, options.seed, by_proxy=False, concurrency=CONCURRENCY) as stage:
        stage.crew.start(groups=GROUPS)
        while len(zombies) < options.faults:
            zombies += _round(stage, idents, options.faults - len(zombies))
        _push(stage, idents, max(0, options.jobs - len(idents)))
        is_settled = drained(stage, idents)
        stage.crew.stop()
        return _report(stage, zombies, idents, is_settled)


def _round(stage: Scene, idents: list[str], most: int) -> list[Zombie]:
    """Freeze every process of the groups, at most so many; wake them when all is done."""
    pids = [pid for group in stage.crew.groups for pid in group.worker.children()][:most]
    zombies = [_frozen(stage, idents, pid) for pid in pids]
    held = set().union(*(zombie.begun | zombie.unbegun for zombie in zombies))

    def is_done() -> bool:
        stage.ledger.read()
        return not stage.ledger.missing(held)

    # The lease of the last one has to end, and somebody to look. What comes of it, the report
    # tells: here nothing is judged.
    awaited(is_done, 2 * LEASE + SOON)
    before = stage.site.counter("fenced")
    late = sum(len(zombie.begun) for zombie in zombies)
    for zombie in zombies:
        os.kill(zombie.pid, signal.SIGCONT)
    awaited(lambda: stage.site.counter("fenced") - before >= late, SOON)
    return zombies


def _frozen(stage: Scene, idents: list[str], pid: int) -> Zombie:
    """Freeze a process at a moment at which every thread is inside of a job."""
    identity = stage.site.identity(pid)

    def try_to_freeze() -> Zombie | None:
        if stage.site.redis.llen(stage.site.keys.queue("default")) < SUPPLY:
            _push(stage, idents, SUPPLY)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: procfs.is_stopped(pid), SOON, "it to stop")
        stage.site.redis.ping()  # what it had sent before is done when this is answered
        claims, _ = stage.site.store.claims.held(identity)
        stage.ledger.read()
        held = {stage.ledger.name_of(claim.raw) for claim in claims}
        begun = {ident for ident in held if ident in stage.ledger.starts}
        busy = sum(ident not in stage.ledger.finishes for ident in begun)
        # All inside: else one may have taken a job, and not had the time to say so.
        if busy == CONCURRENCY:
            return Zombie(pid, identity, begun, held - begun)
        os.kill(pid, signal.SIGCONT)
        return None

    return wait_until(try_to_freeze, SOON, f"a moment at which process {pid} is busy")


def _push(stage: Scene, idents: list[str], count: int) -> None:
    fresh = [f"job{len(idents) + number}" for number in range(count)]
    stage.site.push_all(payload(SleepJob, ident, LENGTH) for ident in fresh)
    idents += fresh


def _report(stage: Scene, zombies: list[Zombie], idents: list[str], is_settled: bool) -> Report:
    made = Report(f"stop: {len(zombies)} processes frozen past their lease of {LEASE} s")
    made.tell("zombies", len(zombies))
    made.tell("jobs", len(idents))
    findings.tell_losses(made, stage, idents, len(zombies))
    begun = set().union(*(zombie.begun for zombie in zombies))
    unbegun = set().union(*(zombie.unbegun for zombie in zombies))
    made.tell("held by zombies", len(begun) + len(unbegun))
    made.tell("  begun", len(begun))
    made.tell("  not begun", len(unbegun))
    fenced = stage.site.counter("fenced")
    made.promise(
        "late results refused",
        f"{fenced} of {len(begun)}",
        "each; beside them at most what was not begun, and is given back too late",
        len(begun) <= fenced <= len(begun) + len(unbegun),
    )
    doubles = stage.ledger.double_starts()
    made.promise(
        "begun again by others",
        doubles.total(),
        "only what a zombie had begun, once each",
        doubles.keys() <= begun and doubles.total() <= len(begun),
    )
    twice = [ident for ident in unbegun if stage.ledger.starts[ident] > 1]
    none = "a zombie begins nothing that others have taken"
    made.promise("not begun, and run twice", len(twice), none, not twice)
    dead = stage.site.redis.zcard(stage.site.keys.dead)
    made.promise("dead", dead, "none", dead == 0)
    findings.tell_end(made, stage, is_settled)
    return made
