"""``python -m benchmarks``: race what is named, or everything, and print the ratios."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from importlib import import_module

import django

from benchmarks import database, machine, report
from benchmarks.peers import PEERS, venv
from benchmarks.race import Race
from benchmarks.server import Server

#: The measures, and the jobs of one run of each; of "reconcile" the rows.
MEASURES = {
    "async": 1_000,
    "dashboard": 1_000_000,
    "drain": 20_000,
    "enqueue": 8_000,
    "grow": 10_000,
    "latency": 500,
    "memory": 0,
    "peers": 20_000,
    "promote": 10_000,
    "reconcile": 1_000_000,
    "switches": 8_000,
    "unique": 8_000,
}

#: The modules of measures that have another name.
MODULES = {"async": "event_loop", "peers": "peers.measure"}

#: Those that run only when they are named: they install what they compare us to.
ON_DEMAND = {"peers"}

#: The runs of each contender: by default, and of measures that need another number.
RUNS = 5
OTHER_RUNS = {"peers": 3}


def main() -> None:
    """Run the measures. A goal that is missed is told, and never fails the command."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE",
        help=f"{', '.join(MEASURES)} (default: all but {', '.join(ON_DEMAND)})",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, help="jobs in one run (default: as the measure needs)")
    parser.add_argument("--rows", type=int, help="rows in the table of reconcile")
    parser.add_argument(
        "--runs", type=int, help=f"runs of each contender (default: {RUNS}; {_other_runs()})"
    )
    parser.add_argument(
        "--peers", type=_names_of_peers, default=[], metavar="NAME,NAME",
        help=f"the peers: {', '.join(PEERS)} (default: all of them)",
    )  # fmt: skip
    parser.add_argument(
        "--no-kill", dest="kills", action="store_false", help="do not kill the workers of peers"
    )
    parser.add_argument(
        "--cache", metavar="DIRECTORY", help=f"environments of the peers (default: {venv.cache()})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    for name in options.measures:
        if name not in MEASURES:
            parser.error(f"there is no measure {name!r}")
    if options.cache:
        os.environ[venv.VARIABLE] = options.cache
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
        for name in options.measures or [name for name in MEASURES if name not in ON_DEMAND]:
            # Jobs can be imported only now that Django is set up.
            module = import_module(f"benchmarks.{MODULES.get(name, name)}")
            size = options.rows if name == "reconcile" else options.jobs
            runs = options.runs or OTHER_RUNS.get(name, RUNS)
            more = {"chosen": options.peers, "kills": options.kills} if name == "peers" else {}
            found = module.measure(server, size or MEASURES[name], runs, **more)
            races += found
            if not options.json:
                show = getattr(module, "text", report.text)
                _say("".join(f"\n{show(race)}" for race in found))
        if options.json:
            _say(report.as_json(facts, races))
        else:
            _say(f"\nload averages: {machine.load()}\n")


def _names_of_peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise ArgumentTypeError(f"there is no peer {name!r}")
    return names


def _other_runs() -> str:
    return ", ".join(f"{name} {runs}" for name, runs in OTHER_RUNS.items())


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
