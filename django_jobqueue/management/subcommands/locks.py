"""``manage.py jobqueue locks``: the locks of unique jobs, and to release one."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.api import LockSet
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, journal, tables
from django_jobqueue.reports.locks import COUNT, Locks, locks

name = "locks"
help = (
    "List locks of unique jobs, in no order: who holds each, for how long, and where that job is. "
    "'nowhere' is a job that is gone: its lock only keeps others off until it expires."
)

#: The exit code where a lock was not there to be released.
STAYED = 3


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--count", type=flags.count, default=COUNT, metavar="N",
        help="show about so many (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--cursor", type=flags.position, default=0, metavar="N", help="go on from there"
    )
    parser.add_argument(
        "--release", metavar="DIGEST",
        help="release this lock, so that a job like its holder can be enqueued; exit code 3 where "
        "it is not held (any more)",
    )  # fmt: skip
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    try:
        if options["release"]:
            return _release(command, options, options["release"])
        found = locks(cursor=options["cursor"], count=options["count"])
    except InvalidQuery as error:
        raise CommandError(str(error)) from error
    flags.show(command, options, found.as_dict(), _lines(command, found))
    return 0


def _release(command: BaseCommand, options: Mapping[str, Any], digest: str) -> int:
    lock = LockSet().get(digest)
    done = lock is not None and lock.release()
    if lock is not None and done:
        journal.note("released the lock", digest, 1, holder=lock.jid)
    told = f"{digest}: released" if done else f"{digest}: nobody holds it"
    flags.show(command, options, {"digest": digest, "released": done}, [told])
    return 0 if done else STAYED


def _lines(command: BaseCommand, found: Locks) -> Iterator[str]:
    rows = [
        (
            lock.digest,
            lock.jid,
            "for ever" if lock.ttl is None else tables.span(lock.ttl),
            lock.place or ("nowhere" if lock.has_holder is False else "not found yet"),
        )
        for lock in found.locks
    ]
    if rows:
        head = ("DIGEST", "HOLDER", "LEFT", "WHERE")
        yield from tables.table(head, rows, limit=tables.columns_of(command))
    elif found.cursor is None:
        yield "No lock is held."
    if found.cursor is not None:
        yield f"There may be more: go on with --cursor {found.cursor}."
