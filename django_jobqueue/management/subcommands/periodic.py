"""``jobqueue periodic``: see what runs again and again, and pause, resume or run one of it."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.exceptions import JobQueueError, UnknownTimetable
from django_jobqueue.management import flags, tables
from django_jobqueue.management.journal import note
from django_jobqueue.reports.schedules import ScheduleFacts, schedules
from django_jobqueue.scheduling import firing, slots
from django_jobqueue.timetable import Timetable

name = "periodic"
help = "List the periodic jobs and reconcilers, and pause, resume or run one."

#: The exit code where a job was not pushed.
NOT_PUSHED = 3


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions; without one all are listed."""
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", parents=[as_json], help="list all (the default)")
    for action, told in (
        ("pause", "fire it no more; times that pass meanwhile are not made up for"),
        ("resume", "fire it again, from its next time on"),
        ("run", "enqueue its job now; exit code 3 where that is refused or on its way already"),
    ):
        of_one = actions.add_parser(action, parents=[as_json], help=told)
        of_one.add_argument(
            "name", metavar="NAME", help="a key of PERIODIC, or a reconciler's dotted path"
        )


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do what was asked; return the exit code. Raises: CommandError."""
    action = options["action"] or "list"
    if action == "list":
        return _list(command, options)
    try:
        timetable = firing.find_timetable(options["name"])
    except UnknownTimetable as error:
        raise CommandError(str(error)) from error
    return _ACTIONS[action](command, options, timetable)


def _pause(command: BaseCommand, options: Mapping[str, Any], timetable: Timetable) -> int:
    changed = slots.pause(timetable.name)
    told = "paused" if changed else "was paused already"
    return _tell(command, options, timetable, told, {"paused": True, "changed": changed})


def _resume(command: BaseCommand, options: Mapping[str, Any], timetable: Timetable) -> int:
    changed = slots.resume(timetable.name)
    told = "goes on" if changed else "was not paused"
    slot = timetable.next(clock.now())
    due = None if slot is None else datetime.fromtimestamp(slot, UTC)
    facts = {"paused": False, "changed": changed, "next": due and due.isoformat()}
    return _tell(command, options, timetable, f"{told}, next: {_local(due)}", facts)


def _run(command: BaseCommand, options: Mapping[str, Any], timetable: Timetable) -> int:
    try:
        jid = firing.run_now(timetable)
    except (ImportError, TypeError, JobQueueError) as error:
        raise CommandError(f"{timetable.name} cannot be run: {error}") from error
    told = f"enqueued, jid {jid}"
    if jid is None:
        told = "not enqueued: refused (its kill switch?), or on its way already"
    _tell(command, options, timetable, told, {"jid": jid})
    return NOT_PUSHED if jid is None else 0


def _tell(
    command: BaseCommand,
    options: Mapping[str, Any],
    timetable: Timetable,
    told: str,
    facts: Mapping[str, Any],
) -> int:
    note(f"periodic {options['action']}", timetable.name, **facts)
    plain = {"name": timetable.name, **facts}
    flags.show(command, options, plain, [f"{timetable.name}: {told}"])
    return 0


_ACTIONS: Mapping[str, Callable[[BaseCommand, Mapping[str, Any], Timetable], int]] = {
    "pause": _pause,
    "resume": _resume,
    "run": _run,
}


# Listing ------------------------------------------------------------------------


def _list(command: BaseCommand, options: Mapping[str, Any]) -> int:
    listed = schedules().schedules
    flags.show(command, options, [each.as_dict() for each in listed], _lines(command, listed))
    return 0


def _lines(command: BaseCommand, listed: Sequence[ScheduleFacts]) -> Iterator[str]:
    if not listed:
        yield "Nothing stands in JOBQUEUE['PERIODIC'] or JOBQUEUE['RECONCILERS']."
        return
    rows = (
        (
            each.name, each.when, "paused" if each.paused else _local(each.next), _local(each.last),
            each.job,
        )
        for each in listed
    )  # fmt: skip
    head = ("NAME", "WHEN", "NEXT", "LAST", "JOB")
    yield from tables.table(head, rows, limit=tables.columns_of(command))


def _local(moment: datetime | None) -> str:
    """Return a moment as people read it, in the project's time zone."""
    if moment is None:
        return "never"
    local = moment.astimezone(timezone.get_default_timezone())
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")
