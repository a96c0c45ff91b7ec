"""``python -m tests.chaos``: run one experiment, print what it found, and exit by its promises."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import redis

from benchmarks.peers import PEERS
from tests.chaos import report
from tests.chaos.options import Options
from tests.support.prefixes import new_prefix
from tests.support.server import RedisServer


@dataclass(frozen=True, slots=True)
class Experiment:
    """One of them: what its numbers are by default, and the Redis and the site that it needs."""

    about: str
    jobs: int = 0
    faults: int = 0
    settings: str = "tests.jobsite.settings"
    #: Directives of redis.conf. What a server that was killed had acknowledged, it still has.
    config: dict[str, Any] = field(
        default_factory=lambda: {"appendonly": "yes", "appendfsync": "always"}
    )


EXPERIMENTS = {
    "kill": Experiment("kill -9 of workers and whole groups", jobs=10_000, faults=200),
    "mixed": Experiment("faults of all kinds, one after the other", jobs=20_000, faults=200),
    "stop": Experiment("processes frozen past their lease", jobs=5_000, faults=30),
    "flush": Experiment(
        "FLUSHALL at random moments, with reconcilers on",
        jobs=5_000,
        faults=100,
        settings="tests.healing.settings",
        config={"appendonly": "no"},
    ),
    "outage": Experiment("Redis away, for less and more than a lease", jobs=1_000, faults=4),
    "soak": Experiment("an hour under a modest load, a fault of any kind each 30 s"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment that the command line names; return 1 when a promise broke."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    name, options, as_json, keep = _parse(words)
    experiment = EXPERIMENTS[name]
    directory = Path(tempfile.mkdtemp(prefix="chaos"))
    with RedisServer(experiment.config) as server:
        os.environ.setdefault("JOBQUEUE_TEST_DATABASE", str(directory / "site.sqlite3"))
        os.environ["JOBQUEUE_TEST_URL"] = server.url
        os.environ["JOBQUEUE_TEST_PREFIX"] = new_prefix()
        os.environ["DJANGO_SETTINGS_MODULE"] = experiment.settings
        django.setup()
        facts = {"command": _command(words, options.seed), **_facts(server, experiment)}
        # What it imports needs a Django that is set up.
        room = "peer" if options.peer else name
        found: report.Report = import_module(f"tests.chaos.{room}").run(server, directory, options)
    if found.broken or keep:
        found.note(f"Logs and journal are kept in {directory}")
    else:
        shutil.rmtree(directory)
    sys.stdout.write(found.as_json(facts) if as_json else found.text(facts))
    return 1 if found.broken else 0


def _parse(words: list[str]) -> tuple[str, Options, bool, bool]:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    experiments = parser.add_subparsers(required=True, dest="name", metavar="EXPERIMENT")
    for name, experiment in EXPERIMENTS.items():
        each = experiments.add_parser(name, help=experiment.about, description=experiment.about)
        _add_options(each, name, experiment)
    found = vars(parser.parse_args(words))
    seed = found.get("seed")
    options = Options(
        jobs=found.get("jobs", 0),
        faults=found.get("faults", 0),
        seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
        seconds=found.get("seconds", 0.0),
        every=found.get("every", 0.0),
        rate=found.get("rate", 0.0),
        slack=found.get("slack", 0.0),
        samples=found.get("samples"),
        peer=found.get("peer"),
        patience=found.get("patience", 0.0),
    )
    return found["name"], options, found["json"], found["keep"]


def _add_options(parser: ArgumentParser, name: str, experiment: Experiment) -> None:
    add = parser.add_argument
    if name == "soak":
        add("--seconds", type=float, default=3600.0, help="how long it lasts (%(default)g)")
        add("--every", type=float, default=30.0, help="seconds from fault to fault (%(default)g)")
        add("--rate", type=float, default=30.0, help="jobs a second (%(default)g)")
        add("--samples", type=Path, help="file for the line of each minute")
    else:
        things = "rows" if name == "flush" else "jobs"
        add("--jobs", type=int, default=experiment.jobs, help=f"{things} at least (%(default)d)")
        add(
            "--faults", type=int, default=experiment.faults,
            help="faults that must hit something (%(default)d)",
        )  # fmt: skip
    if name == "kill":
        add("--slack", type=float, default=0.0, help="seconds added to each promised time")
        add("--peer", choices=sorted(PEERS), help="kill another system's worker")
        add("--patience", type=float, default=180.0, help="seconds for a peer's last jobs")
    add("--seed", type=int, help="default: a new one, which is printed")
    add("--json", action="store_true", help="print one JSON document")
    add("--keep", action="store_true", help="keep logs and journal, also when all went well")


def _command(words: list[str], seed: int) -> str:
    """Return the command that does the same again: with its seed."""
    told = words if "--seed" in words else [*words, "--seed", str(seed)]
    return f"python -m tests.chaos {shlex.join(told)}"


def _facts(server: RedisServer, experiment: Experiment) -> dict[str, str]:
    kind = "Valkey" if server.is_valkey else "Redis"
    config = ", ".join(f"{name} {value}" for name, value in experiment.config.items())
    return {
        "server": f"{kind} {'.'.join(map(str, server.version))}, {config}",
        "versions": (
            f"Python {platform.python_version()}, Django {django.get_version()}, "
            f"redis-py {redis.__version__}"
        ),
        "machine": report.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
