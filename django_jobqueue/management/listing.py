"""Jobs that wait, as a table: what the subcommands for each place have in common."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.api import arguments
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, tables
from django_jobqueue.payload import dump_json, printable
from django_jobqueue.reports.entries import Entries, EntryFacts, entries

#: Entries that are shown where nothing is said.
LIMIT = 20

#: What is shown of an entry, by the head of its column.
Column = Callable[[EntryFacts, datetime], object]

COLUMNS: Mapping[str, Column] = {
    "JID": lambda entry, at: entry.jid,
    "CLASS": lambda entry, at: entry.display_class or "(no job)",
    "QUEUE": lambda entry, at: entry.queue,
    "WHEN": lambda entry, at: tables.ago(entry.at, at),
    "ATTEMPT": lambda entry, at: attempts(entry),
    "FROM": lambda entry, at: entry.held_from,
    "ERROR": lambda entry, at: error(entry),
    "ARGS": lambda entry, at: dump_json(entry.args),
}


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what is shown of a place, and the conditions."""
    parser.add_argument(
        "--limit", type=flags.count, default=LIMIT, metavar="N",
        help="show so many at most, up to 1,000 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--start", type=flags.position, default=0, metavar="N", help="pass over the first N"
    )
    parser.add_argument("--reverse", action="store_true", help="begin at the other end")
    parser.add_argument(
        "--args",
        dest="with_args",
        action="store_true",
        help="show the arguments, without what is to be redacted",
    )
    flags.add_json(parser)
    flags.add_filters(parser.add_argument_group("only jobs"))


def list_place(
    command: BaseCommand,
    options: Mapping[str, Any],
    place: str,
    columns: tuple[str, ...],
    *,
    newest_first: bool = False,
) -> int:
    """Show the jobs of a place; return the exit code. Raises: CommandError."""
    if options["limit"] > arguments.MOST:
        raise CommandError(f"--limit {options['limit']}: give 1,000 at most, and go on by --start.")
    filter = flags.filter_of(options)
    if options["start"] and not filter.is_empty:
        raise CommandError("--start pages through all jobs: leave it out where conditions search.")
    try:
        found = entries(
            place,
            filter,
            start=options["start"],
            count=options["limit"],
            newest_first=newest_first is not options["reverse"],
            budget=None,  # somebody sits there who can end it
            with_args=options["with_args"],
        )
    except InvalidQuery as error:
        raise CommandError(str(error)) from error
    if options["with_args"]:
        columns = (*columns, "ARGS")
    lines = _lines(command, found, columns, options["limit"])
    flags.show(command, options, found.as_dict(), lines)
    return 0


def attempts(entry: EntryFacts) -> str:
    """Return how many attempts a job has had, and of how many."""
    allowed = "time" if entry.attempts_allowed is None else f"{entry.attempts_allowed:,}"
    return f"{entry.attempts:,} of {allowed}" if entry.valid else tables.NOTHING


def error(entry: EntryFacts) -> str:
    """Return the error of a job in a line."""
    if not entry.valid:
        return entry.problem
    return ": ".join(filter(None, (entry.error_class, entry.error_message)))


def _lines(
    command: BaseCommand, found: Entries, columns: tuple[str, ...], limit: int
) -> Iterator[str]:
    # A search has no order, and may find more than was asked for.
    shown = sorted(found.entries, key=_by_time) if found.filter else found.entries
    rows = [[COLUMNS[name](entry, found.at) for name in columns] for entry in shown[:limit]]
    if rows:
        yield from tables.table(columns, rows, limit=tables.columns_of(command))
    yield _footer(found, limit)


def _by_time(entry: EntryFacts) -> tuple[bool, float, str]:
    return entry.at is None, 0.0 if entry.at is None else entry.at.timestamp(), entry.jid


def _footer(found: Entries, limit: int) -> str:
    place, count = printable(found.place), len(found.entries)
    if found.filter:
        may_be_more = found.cursor is not None or count > limit
        rest = " There may be more: raise --limit." if may_be_more else ""
        return f"{min(count, limit):,} found in {place}, of {found.size:,} jobs.{rest}"
    if not count:
        none = ", none from there on" if found.size else ""
        return f"{place}: {found.size:,} jobs{none}."
    ahead = found.start + count
    more = f" Go on with --start {ahead}." if ahead < found.size else ""
    return f"{place}: {found.start + 1:,} to {ahead:,} of {found.size:,} jobs.{more}"
