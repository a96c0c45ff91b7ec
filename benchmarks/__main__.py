"""``python -m benchmarks``: race what is named, or everything, and print the ratios."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from importlib import import_module

import django

from benchmarks import database, machine, report
from benchmarks.race import Race
from benchmarks.server import Server

#: The measures, and the jobs of one run of each; of "reconcile" the rows.
MEASURES = {
    "async": 1_000,
    "dashboard": 1_000_000,
    "drain": 20_000,
    "enqueue": 8_000,
    "latency": 500,
    "memory": 0,
    "promote": 10_000,
    "reconcile": 1_000_000,
    "switches": 8_000,
    "unique": 8_000,
}

#: The modules of measures that have another name.
MODULES = {"async": "event_loop"}


def main() -> None:
    """Run the measures. A goal that is missed is told, and never fails the command."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE",
        help=f"{', '.join(MEASURES)} (default: all of them)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, help="jobs in one run (default: as the measure needs)")
    parser.add_argument("--rows", type=int, help="rows in the table of reconcile")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    for name in options.measures:
        if name not in MEASURES:
            parser.error(f"there is no measure {name!r}")
    with Server() as server, database.sqlite_file():
        os.environ["BENCHMARK_REDIS_URL"] = server.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        django.setup()
        database.migrate()
        # As wherever a worker runs: the switches are known, and off.
        import_module("django_jobqueue.switches.publisher").sync()
        facts = machine.facts(server.version)
        races: list[Race] = []
        if not options.json:
            _say("".join(f"{name}: {fact}\n" for name, fact in facts.items()))
        for name in options.measures or MEASURES:
            # Jobs can be imported only now that Django is set up.
            measure = import_module(f"benchmarks.{MODULES.get(name, name)}").measure
            size = options.rows if name == "reconcile" else options.jobs
            found = measure(server, size or MEASURES[name], options.runs)
            races += found
            if not options.json:
                _say("".join(f"\n{report.text(race)}" for race in found))
        if options.json:
            _say(report.as_json(facts, races))
        else:
            _say(f"\nload averages: {machine.load()}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
