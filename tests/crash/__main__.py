"""``python -m tests.crash``: crash at every step of a worker's life, and print what came of it."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import django

from tests.crash.report import BY_HAND, SUPERVISED, THREADED, TWICE, Outcome, Report

#: Steps among which one is drawn for a life with threads. None comes to its end before.
DRAWN = 150

#: The same for the worker that comes after one that was killed.
DRAWN_NEXT = 80

#: Lives with threads at the same time: most of each is waiting.
AT_A_TIME = 6


def main() -> int:
    """Do what the command line says; return the exit code: 1 for a violation."""
    options = _parse()
    began = time.monotonic()
    if options.fault:
        return _find(options.fault)
    report = _live(options) if options.part else _divide(options)
    report.seconds = time.monotonic() - began
    if options.json:
        Path(options.json).write_text(json.dumps(report.as_json()))
    sys.stdout.write("".join(f"{line}\n" for line in report.lines()))
    sys.stdout.write(f"seed {options.seed}\n")
    return 1 if report.bad else 0


def _parse() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=24, metavar="N",
        help="lives with all threads of a worker, each killed at a step by chance (default: 24)",
    )  # fmt: skip
    parser.add_argument(
        "--runjobs", type=int, default=8, metavar="N",
        help="the same for a child of `manage.py runjobs` (default: 8)",
    )  # fmt: skip
    parser.add_argument(
        "--twice", type=int, default=50, metavar="N",
        help="lives after which the next worker is killed, too (default: 50)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=None, help="for what is drawn by chance")
    parser.add_argument("--json", metavar="PATH", help="write the figures there as well")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N",
        help="share the lives among so many (default: one for each processor)",
    )  # fmt: skip
    parser.add_argument(
        "--part", metavar="I/N", help="live only every Nth life, from the Ith (from 1) on"
    )
    parser.add_argument(
        "--no-steps", action="store_true", help="leave the enumeration out: only what is by chance"
    )
    parser.add_argument(
        "--fault", metavar="NAME",
        help="break the protocol on purpose, by a name in tests/crash/sabotage.py, and end with "
        "0 only where that is found",
    )  # fmt: skip
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**31)
    return options


def _divide(options: Namespace) -> Report:
    """Have several processes live, and return what all of them did."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jq-crash-") as directory:
        paths = [Path(directory, str(number)) for number in range(1, options.processes + 1)]
        started = [
            subprocess.Popen(_command(options, number, path), stdout=subprocess.DEVNULL)
            for number, path in enumerate(paths, 1)
        ]
        for process, path in zip(started, paths, strict=True):
            code = process.wait()
            if not path.exists():
                raise SystemExit(f"a part ended with {code}")
            report.add(Report.from_json(json.loads(path.read_text())))
    return report


def _command(options: Namespace, number: int, path: Path) -> list[str]:
    command = [sys.executable, "-m", "tests.crash", "--part", f"{number}/{options.processes}"]
    for name in ("twice", "threads", "runjobs", "seed"):
        command += (f"--{name}", str(getattr(options, name)))
    more = ["--no-steps"] if options.no_steps else []
    return [*command, "--json", str(path), *more]


def _live(options: Namespace) -> Report:
    """Live the lives of one part."""
    _boot()
    from tests.crash.fuse import AFTER, BEFORE, Point, moments
    from tests.crash.lives import Lives, Verdict
    from tests.support.server import RedisServer

    def told(how: str, verdicts: Sequence[Verdict]) -> list[Outcome]:
        return [
            Outcome(
                how, v.where, v.call.name if v.call else "", v.wrong,
                v.double_starts, v.double_finishes,
            )
            for v in verdicts
        ]  # fmt: skip

    number, parts = map(int, options.part.split("/"))
    chance = random.Random(options.seed)

    def draw(count: int, among: int) -> list[Point]:
        return [
            Point(chance.randint(1, among), chance.choice((BEFORE, AFTER))) for _ in range(count)
        ]

    threaded = draw(options.threads, DRAWN)[number - 1 :: parts]
    supervised = draw(options.runjobs, DRAWN)[number - 1 :: parts]
    pairs = zip(draw(options.twice, DRAWN), draw(options.twice, DRAWN_NEXT), strict=True)
    twice = list(pairs)[number - 1 :: parts]
    report = Report()
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="jq-crash-") as directory:
        report.versions = _versions(server.version, server.is_valkey)
        with Lives(server, Path(directory, "lives"), seed=options.seed) as lives:
            if not options.no_steps:
                calls = lives.calls()
                report.steps = [call.name for call in calls]
                for point in moments(calls)[number - 1 :: parts]:
                    report.outcomes += told(BY_HAND, [lives.live(point)])
            for point, then in twice:
                report.outcomes += told(TWICE, [lives.live_twice(point, then)])
            for at in range(0, len(threaded), AT_A_TIME):
                batch = threaded[at : at + AT_A_TIME]
                report.outcomes += told(THREADED, lives.live_threaded(batch))
            for at in range(0, len(supervised), AT_A_TIME):
                batch = supervised[at : at + AT_A_TIME]
                report.outcomes += told(SUPERVISED, lives.live_supervised(batch))
    return report


def _find(name: str) -> int:
    """Break the protocol and look for what the crashes show of it; return 0 where they do."""
    _boot()
    from tests.crash.lives import Lives
    from tests.crash.sabotage import SABOTAGES
    from tests.support.server import RedisServer

    sabotage = next(sabotage for sabotage in SABOTAGES if sabotage.name == name)
    with (
        RedisServer() as server,
        tempfile.TemporaryDirectory(prefix="jq-crash-") as directory,
        Lives(server, Path(directory, "lives"), fault=sabotage.apply) as lives,
    ):
        verdict = lives.find(sabotage)
    sys.stdout.write(f"{verdict or 'nothing was found'}\n")
    return 0 if verdict is not None else 1


def _boot() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.crash.settings"
    django.setup()


def _versions(server: tuple[int, ...], is_valkey: bool) -> str:
    name = "Valkey" if is_valkey else "Redis"
    number = ".".join(map(str, server))
    return f"{name} {number}, Python {platform.python_version()}, Django {django.__version__}"


if __name__ == "__main__":
    sys.exit(main())
