"""``manage.py jobqueue job``: everything about one job, wherever it is."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, tables
from django_jobqueue.management.places import read_place
from django_jobqueue.payload import printable
from django_jobqueue.reports.job import JobFacts, job

name = "job"
help = (
    "Show one job by its id: where it is, every field, its traceback, its lock. Everything is "
    "searched, unless a place is named. Exit code 3: it is nowhere."
)

#: The exit code where there is no such job.
NOWHERE = 3

#: Fields with a time, as numbers that nobody reads.
_TIMES = ("created_at", "enqueued_at", "failed_at", "retried_at")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("jid", metavar="JID", help="the id of the job")
    parser.add_argument(
        "--place", metavar="PLACE",
        help="look only there: retry, dead, schedule, queue:NAME or held:CLASS",
    )  # fmt: skip
    parser.add_argument(
        "--args",
        dest="with_args",
        action="store_true",
        help="show the arguments, without what is to be redacted",
    )
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    place = None
    if options["place"] and (place := read_place(options["place"])) is None:
        raise CommandError(
            f"{options['place']!r} is no place: give retry, dead, schedule, queue:NAME or "
            "held:CLASS."
        )
    try:
        found = job(options["jid"], place=place, with_args=options["with_args"])
    except InvalidQuery as error:
        raise CommandError(str(error)) from error
    lines = [line for each in found for line in _lines(each)]
    where = place or "any place"
    missing = f"{printable(options['jid'])} is not in {where}: it has ended, or never was."
    flags.show(command, options, [each.as_dict() for each in found], lines or [missing])
    return 0 if found else NOWHERE


def _lines(found: JobFacts) -> Iterator[str]:
    yield f"In {printable(found.place)}:"
    pairs = [(printable(name), _value(found, name)) for name in found.fields]
    if found.entry.at is not None:
        pairs.append(("(time)", tables.local(found.entry.at)))
    if found.unique_digest is not None:
        holder = found.lock_owner or "nobody"
        pairs.append(("(lock held by)", "this job" if holder == found.entry.jid else holder))
    if found.url:
        pairs.append(("(page)", found.url))
    if found.entry.problem:
        pairs.append(("(no job)", found.entry.problem))
    yield from (f"  {line}" for line in tables.facts(pairs))
    if found.backtrace:
        yield "  Traceback:"
        # Their indent tells what belongs together; escaped, it is kept.
        yield from (f"    {printable(line)}" for line in found.backtrace if line.strip())


def _value(found: JobFacts, name: str) -> object:
    value = found.fields[name]
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    when = getattr(found.entry, name) if name in _TIMES else None
    return shown if when is None else f"{shown} ({tables.local(when)})"
