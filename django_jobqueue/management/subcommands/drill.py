"""``manage.py jobqueue drill``: lose all of Redis on purpose, and see how fast it heals."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.connection import store
from django_jobqueue.exceptions import DrillRefused
from django_jobqueue.management.confirm import confirm
from django_jobqueue.management.subcommands.drift import told
from django_jobqueue.management.subcommands.reconcile import chosen_by
from django_jobqueue.reconciliation.drill import drill, inspect

#: What is typed to begin where there is no prefix to type.
WORD = "erase"

name = "drill"
help = (
    "Remove every key of this project from Redis, as a flush would, and wait until each row that "
    "needs a job has one again. Jobs that no reconciler can make again are lost. Needs running "
    "workers. Only keys of our own are removed; without a KEY_PREFIX the drill is refused where "
    "the database holds others. Exit code 1: not healed in time."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a reconciler to watch")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds to wait at most (default: 300)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON at the end, nothing else")


def handle(command: BaseCommand, options: dict[str, Any]) -> int:
    """Do it; return the exit code."""
    plans = [cls().plan() for cls in chosen_by(options["names"])]
    redis = store()
    try:
        keys = inspect(redis)
    except DrillRefused as error:
        raise CommandError(str(error)) from error
    if not options["yes"]:
        warning = (
            f"This removes {keys:,} keys of this project from the Redis at {redis.address}, with "
            "every job in them. Jobs that no reconciler can make again are lost."
        )
        confirm(command, warning, redis.keys.prefix or WORD)

    def watch(drifts: Any) -> None:
        if not options["json"]:
            for drift in drifts:
                command.stdout.write(told(drift))

    report = drill(redis, plans, timeout=options["timeout"], watch=watch)
    if options["json"]:
        command.stdout.write(json.dumps(report.as_dict()))
    elif report.seconds is None:
        command.stdout.write(f"Not healed within {options['timeout']:g} s.")
    else:
        command.stdout.write(f"Healed {report.seconds:.1f} s after {report.erased:,} keys went.")
    return 1 if report.seconds is None else 0
