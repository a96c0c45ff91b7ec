"""
``kill -9`` of workers and of whole groups at random moments: nothing is lost.

What runs twice is bounded by what the killed processes held, and that by their threads and
what a process may have claimed ahead or not yet delivered.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.site import SOON, payload
from tests.chaos import findings
from tests.chaos.crew import CROWDED
from tests.chaos.ending import drained
from tests.chaos.options import Options
from tests.chaos.recovery import watched
from tests.chaos.report import Report
from tests.chaos.scene import Scene, scene
from tests.jobsite.jobs import SleepJob
from tests.support.polling import wait_until
from tests.support.server import RedisServer

CONCURRENCY = 10

#: Seconds of one job.
LENGTH = 0.02

#: Jobs that are pushed before a kill, when none wait: about one for each thread.
BURST = 50

#: Jobs that a process may have begun and not delivered: those of its threads, and as many as are
#: done in 15 ms; it takes no more before it has delivered what is done. And one that was there at
#: an earlier crash: such jobs are held aside, not begun, and run one at a time.
MOST_BEGUN = CONCURRENCY + int(0.015 * CONCURRENCY / LENGTH) + 1


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Kill until so many kills have hit, wait for the last job, and report."""
    idents: list[str] = []
    with scene(server, directory, options.seed, by_proxy=False, concurrency=CONCURRENCY) as stage:
        stage.crew.start(groups=2)

        def strike() -> bool:
            target = stage.killer.choose()
            if target is None:
                return False
            # Jobs at the last moment: a few threads would be done with them soon.
            if not stage.site.redis.llen(stage.site.keys.queue("default")):
                push(stage, idents, max(BURST, options.jobs // options.faults))
            return stage.killer.strike(target)

        with watched(stage.site, stage.killer):
            while stage.killer.hits < options.faults:
                wait_until(strike, SOON, "a process with claims to kill")
            push(stage, idents, max(0, options.jobs - len(idents)))
            is_settled = drained(stage, idents)
        stage.crew.stop()
        return _report(stage, idents, is_settled, options)


def push(stage: Scene, idents: list[str], count: int) -> None:
    """Push so many jobs more."""
    fresh = [f"job{len(idents) + number}" for number in range(count)]
    stage.site.push_all(payload(SleepJob, ident, LENGTH) for ident in fresh)
    idents += fresh


def _report(stage: Scene, idents: list[str], is_settled: bool, options: Options) -> Report:
    killer, kills = stage.killer, stage.killer.kills
    made = Report(f"kill: {options.faults} effective kill -9 under {options.jobs} jobs or more")
    made.tell("kills that hit", killer.hits)
    made.tell("  of a child", killer.hits - killer.group_hits)
    made.tell("  of a whole group", killer.group_hits)
    made.tell("processes killed", len(kills))
    made.tell("jobs", len(idents))
    findings.tell_losses(made, stage, idents, killer.hits)
    held = sum(len(kill.held) for kill in kills)
    made.tell("claims held at the kills", held)
    made.tell("  running", sum(kill.running for kill in kills))
    made.tell("  never started", held - sum(len(kill.begun) for kill in kills))
    most = max(len(kill.begun) for kill in kills)
    threads = f"{MOST_BEGUN}: {CONCURRENCY} threads, what they do in 15 ms, and a suspect"
    made.promise("  begun in one process, at most", most, threads, most <= MOST_BEGUN)
    limit = len(kills) * MOST_BEGUN
    kept = stage.ledger.double_starts().total() <= limit
    made.promise("  double starts, the limit", limit, "as many a killed process at most", kept)
    findings.tell_doubles(made, stage)
    findings.tell_recovery(made, killer, options.slack)
    others = sum(stage.site.redis.zcard(stage.site.keys.sorted_set(n)) for n in ("dead", "retry"))
    made.promise("dead or waiting to retry", others, "none: kills spend no attempt", others == 0)
    findings.tell_end(made, stage, is_settled)
    made.note(
        "A kill counts when the killed process held claims: it is frozen (SIGSTOP), looked at, "
        "and killed. The seed fixes who is struck in which order, not what the operating system "
        "lets run when."
    )
    made.note(CROWDED)
    return made
