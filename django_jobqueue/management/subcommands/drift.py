"""``manage.py jobqueue drift``: the rows that need a job against the jobs in Redis."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management.subcommands.reconcile import FOUND, chosen_by
from django_jobqueue.reconciliation.drift import Drift, drift

name = "drift"
help = (
    "Compare the rows that need a job with the jobs in Redis. Drift is a row without a job, or "
    "with more than one; then the exit code is 3."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a reconciler (default: all that there are)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object a reconciler")


def handle(command: BaseCommand, options: dict[str, Any]) -> int:
    """Do it; return the exit code."""
    code = 0
    for cls in chosen_by(options["names"]):
        found = drift(cls().plan())
        command.stdout.write(json.dumps(found.as_dict()) if options["json"] else told(found))
        if not found.is_zero:
            code = FOUND
    return code


def told(found: Drift) -> str:
    """Return a drift as a line for people."""
    sample = f" (pk {', '.join(found.sample)})" if found.sample else ""
    return (
        f"{found.name}: {found.expected:,} expected, {found.standing:,} in Redis, "
        f"{found.missing:,} missing{sample}, {found.duplicated:,} duplicated, "
        f"{found.surplus:,} surplus, {found.cooling:,} cooling down, {found.errors:,} with errors"
    )
