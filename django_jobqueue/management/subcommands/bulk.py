"""``manage.py jobqueue bulk``: the bulk actions that workers carry out, and to stop one."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue import bulk
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, journal, tables
from django_jobqueue.reports.bulk import OrderFacts, Orders, order, orders

name = "bulk"
help = (
    "List the bulk actions of the last days, those of the pages and of --background, the last "
    "first; or show one, stop it, or carry it out here. Workers of the queue 'reconcilers' carry "
    "them out. Exit code 3: there is no such bulk action, or it is over."
)

#: The exit code where there is nothing to show, to stop or to carry out.
STAYED = 3

#: Seconds of work between two looks at how far it is.
SLICE = 2.0


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("id", nargs="?", metavar="ID", help="a bulk action")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stop", action="store_true", help="stop it; what is done stays done")
    how.add_argument("--run", action="store_true", help="carry it out here, where no worker does")
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code. Raises: CommandError."""
    if options["id"] is None:
        if options["stop"] or options["run"]:
            raise CommandError("Say which: give the ID of a bulk action.")
        listed = orders()
        flags.show(command, options, listed.as_dict(), _listed(command, listed))
        return 0
    try:
        return _one(command, options, options["id"])
    except InvalidQuery as error:
        raise CommandError(str(error)) from error


def _one(command: BaseCommand, options: Mapping[str, Any], id: str) -> int:
    found = order(id)
    if found is None:
        flags.show(command, options, None, [f"{id} is no bulk action, or was over long ago."])
        return STAYED
    code = 0
    if options["stop"]:
        if bulk.stop(id):
            journal.note("stop", f"bulk action {id}")
        else:
            code = STAYED
    elif options["run"]:
        if found.is_over:
            code = STAYED
        else:
            journal.note("run", f"bulk action {id}")
            _run(id)
    found = order(id) or found
    flags.show(command, options, found.as_dict(), _shown(found))
    return code


def _run(id: str) -> None:
    """Carry it out to its end, unless another works at it."""
    looked_at = -1
    while True:
        stands = bulk.run_here(id, SLICE)
        if stands.is_over or stands.looked_at == looked_at:
            return
        looked_at = stands.looked_at


def _listed(command: BaseCommand, found: Orders) -> Iterator[str]:
    if not found.orders:
        yield "There is no bulk action."
        return
    rows = [
        (
            each.id, each.state, tables.share(each.share), each.done, each.matched,
            tables.ago(each.asked_at, found.at), each.actor,
            f"{each.verb} {each.place}: {each.told}",
        )
        for each in found.orders
    ]  # fmt: skip
    head = ("ID", "STATE", "READ", "DONE", "MEANT", "ASKED", "BY", "WHAT")
    yield from tables.table(head, rows, limit=tables.columns_of(command))


def _shown(found: OrderFacts) -> Iterator[str]:
    state = f"{found.state}, to be stopped" if found.is_stopping else found.state
    pairs: list[tuple[str, object]] = [
        ("what", f"{found.verb} {found.place}: {found.told}"),
        ("asked", f"{tables.local(found.asked_at)} by {found.actor or 'nobody'}"),
        ("state", f"{state}, as of {tables.local(found.updated_at)}"),
        ("read", f"{found.looked_at:,} of {found.total:,} ({tables.share(found.share)})"),
        ("meant", found.matched),
        ("done", found.done),
    ]
    for name in ("gone", "disabled", "refused", "duplicates", "failed"):
        if getattr(found, name):
            pairs.append((name, getattr(found, name)))
    if found.error:
        pairs.append(("error", found.error))
    yield from tables.facts(pairs)
