"""
Faults of all kinds in a random order, one right after the other: nothing is lost.

Workers are killed, lines are cut, slowed and silenced, replies are lost, and Redis itself is
killed, with ``appendfsync always``: what it had acknowledged, it has after the restart.
"""

from __future__ import annotations

from pathlib import Path

from django_jobqueue.payload import Payload
from tests.acceptance.site import payload
from tests.chaos import findings
from tests.chaos.crew import CROWDED
from tests.chaos.ending import drained
from tests.chaos.faults import Strike, strike
from tests.chaos.options import Options
from tests.chaos.recovery import watched
from tests.chaos.report import Report
from tests.chaos.scene import Scene, scene
from tests.jobsite.jobs import SleepJob
from tests.support.server import RedisServer

CONCURRENCY = 10

#: How often each fault is drawn. Those that must outlast a lease have experiments of their own.
WEIGHTS = {
    "kill child": 5,
    "kill group": 2,
    "kill clients": 3,
    "reset lines": 3,
    "half close lines": 2,
    "cut in a request": 3,
    "cut in a reply": 3,
    "lose replies": 3,
    "slow lines": 1,
    "silent lines": 1,
    "refused lines": 1,
    "kill redis": 3,
    "freeze redis": 1,
    "freeze child": 1,
    "forget scripts": 1,
}

#: Jobs that wait at least when a fault strikes.
SUPPLY = 300


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Strike until so many faults have hit, wait for the last job, and report."""
    idents: list[str] = []
    strikes: list[Strike] = []
    with scene(server, directory, options.seed, concurrency=CONCURRENCY) as stage:
        stage.crew.start(groups=2)
        with watched(stage.site, stage.killer):
            while sum(struck.has_hit for struck in strikes) < options.faults:
                waiting = stage.site.redis.llen(stage.site.keys.queue("default"))
                _push(stage, idents, max(options.jobs // options.faults, SUPPLY - waiting))
                (name,) = stage.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                strikes.append(strike(stage, name))
            _push(stage, idents, max(0, options.jobs - len(idents)))
            is_settled = drained(stage, idents)
        stage.crew.stop()
        return _report(stage, idents, strikes, is_settled, options)


def _push(stage: Scene, idents: list[str], count: int) -> None:
    """Push so many jobs more, of 5 to 100 ms. No fault is on: all of them are accepted."""
    fresh = [f"job{len(idents) + number}" for number in range(count)]
    lengths = [stage.chance.uniform(0.005, 0.1) for _ in fresh]
    stage.site.push_all(map(_payload, fresh, lengths))
    idents += fresh


def _payload(ident: str, length: float) -> Payload:
    return payload(SleepJob, ident, round(length, 3))


def _report(
    stage: Scene, idents: list[str], strikes: list[Strike], is_settled: bool, options: Options
) -> Report:
    made = Report(f"mixed: {options.faults} faults of {len(WEIGHTS)} kinds")
    hits = findings.tell_strikes(made, strikes)
    made.tell("jobs claimed when they struck", sum(struck.at_stake for struck in strikes))
    made.tell("jobs", len(idents))
    findings.tell_losses(made, stage, idents, hits)
    findings.tell_doubles(made, stage)
    findings.tell_recovery(made, stage.killer, slack=None)
    dead = stage.site.redis.zcard(stage.site.keys.dead)
    made.promise("dead", dead, "none: faults spend no attempt", dead == 0)
    findings.tell_end(made, stage, is_settled)
    made.note(CROWDED)
    made.note(
        "A fault counts when jobs were claimed as it struck. The claims of a killed group come "
        "back when somebody has beaten for a whole lease: faults that never rest put that off."
    )
    return made
