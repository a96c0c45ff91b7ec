"""``manage.py jobqueue held``: the jobs that kill switches hold."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.api import HeldSet
from django_jobqueue.management import flags, listing, tables
from django_jobqueue.management.places import held_class

name = "held"
help = (
    "List the jobs of a class that its kill switch holds, the first one first; without a class "
    "how many are held of each. 'release' and 'switches release' let them go."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "job", nargs="?", metavar="CLASS", help="a class by its name, dotted path or wire name"
    )
    listing.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    if options["job"]:
        place = f"held:{held_class(options['job'])}"
        return listing.list_place(command, options, place, ("JID", "QUEUE", "WHEN", "FROM"))
    held = {each.job_class: len(each) for each in HeldSet.all()}
    lines = list(tables.table(("CLASS", "HELD"), held.items(), limit=tables.columns_of(command)))
    flags.show(command, options, held, lines if held else ["No job is held."])
    return 0
