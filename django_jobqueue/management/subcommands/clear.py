"""``manage.py jobqueue clear``: delete everything in one place."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue import clock
from django_jobqueue.api import Filter
from django_jobqueue.bulk import Order, Verb, place_of
from django_jobqueue.management import acts, flags
from django_jobqueue.management.confirm import confirm
from django_jobqueue.management.places import read_words
from django_jobqueue.payload import printable
from django_jobqueue.switches.events import os_user

name = "clear"
help = (
    "Delete all jobs of a queue or a set for good, and free their locks. What comes in meanwhile "
    "stays. Asks first. To delete some of them, see 'delete'."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "place", metavar="PLACE", help="queue:NAME, schedule, retry, dead or held:CLASS"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--dry-run", action="store_true", help="only count the jobs")
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    place, _ = read_words([options["place"]], Verb.DELETE)
    if place is None:
        raise CommandError(
            f"{options['place']!r} is no place: give queue:NAME, schedule, retry, dead or "
            "held:CLASS."
        )
    order = Order(Verb.DELETE, place, Filter(), os_user(), clock.now())
    count = len(place_of(place))
    if options["dry_run"]:
        line = f"{printable(place)}: {count:,} jobs would be deleted."
        flags.show(command, options, {**order.as_dict(), "total": count}, [line])
        return 0
    if not options["yes"]:
        warning = f"This deletes all {count:,} jobs of {printable(place)} for good."
        confirm(command, warning, place)
    done = acts.carry_out(command, order, "clear", place)
    return acts.show_progress(command, options, order, done)
