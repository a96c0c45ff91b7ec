"""``manage.py jobqueue errors``: the failures grouped, the most frequent first."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, tables
from django_jobqueue.management.places import read_place
from django_jobqueue.payload import printable
from django_jobqueue.redaction import REDACTED
from django_jobqueue.reports.errors import PLACES, SAMPLE, ErrorGroup, Errors, errors

name = "errors"
help = (
    "Group the jobs that wait for a retry or are dead by class, error, place in the code and "
    "message, the most frequent first. In messages '#' stands for any number."
)

#: Groups that are shown where nothing is said.
LIMIT = 20


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "places", nargs="*", type=_place, metavar="PLACE", help="retry or dead (default: both)"
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=flags.count, default=LIMIT, metavar="N",
        help="show so many groups at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sample", type=flags.count, default=SAMPLE, metavar="N",
        help="look at so many jobs of a place, up to 1,000, evenly spaced (default: %(default)s)",
    )  # fmt: skip
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    try:
        found = errors(*options["places"], sample=options["sample"])
    except InvalidQuery as error:
        raise CommandError(str(error)) from error
    flags.show(command, options, found.as_dict(), _lines(command, found, options["limit"]))
    return 0


def _place(word: str) -> str:
    place = read_place(word)
    if place not in PLACES:
        raise ArgumentTypeError(f"{word!r} is no place with failures: give retry or dead")
    return place


def _lines(command: BaseCommand, found: Errors, limit: int) -> Iterator[str]:
    shown = found.groups[:limit]
    if shown:
        rows = [
            (
                group.count, group.place, group.job_class or "(no job)", group.error_class,
                tables.ago(group.last, found.at), group.jid,
                " ".join(filter(None, (group.message, group.frame and f"({group.frame})"))),
            )
            for group in shown
        ]  # fmt: skip
        head = ("JOBS", "PLACE", "CLASS", "ERROR", "LAST", "ONE OF THEM", "MESSAGE")
        yield from tables.table(head, rows, limit=tables.columns_of(command))
        yield f"To retry the first: jobqueue retry {_conditions(shown[0])}"
    rest = len(found.groups) - len(shown)
    more = f" {rest:,} more groups: raise --limit." if rest else ""
    about = "Counts are estimates: " if found.looked_at < found.size else ""
    yield f"{about}{found.looked_at:,} of {found.size:,} jobs were looked at.{more}"


def _conditions(group: ErrorGroup) -> str:
    """Return the words that mean these jobs, as a shell takes them."""
    words = [group.place]
    for flag, value in (
        ("--class", group.job_class),
        ("--error", group.error_class),
        ("--message", group.message),
        ("--frame", group.frame),
    ):
        if value and REDACTED not in value:
            words += (flag, value)
    return printable(shlex.join(words))
