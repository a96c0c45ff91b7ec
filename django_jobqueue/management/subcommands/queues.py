"""``manage.py jobqueue queues``: how much waits in each queue, or what waits in one."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import flags, listing, screens, tables
from django_jobqueue.reports.queues import queues

name = "queues"
help = (
    "List the queues, the fullest first; or the jobs of one queue, the next to run first. "
    "LATENCY is for how long the next job has waited."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("queue_name", nargs="?", metavar="NAME", help="a queue whose jobs to list")
    listing.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    if options["queue_name"]:
        place = f"queue:{options['queue_name'].removeprefix('queue:')}"
        return listing.list_place(command, options, place, ("JID", "CLASS", "WHEN"))
    found = queues()
    lines = screens.queue_lines(found.queues, limit=tables.columns_of(command))
    flags.show(command, options, found.as_dict(), lines)
    return 0
