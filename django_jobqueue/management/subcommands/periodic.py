"""``jobqueue periodic``: see what runs again and again, and pause, resume or run one of it."""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import JobQueueError, UnknownTimetable
from django_jobqueue.models import Schedule
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
    due = _iso(timetable.next(clock.now()))
    facts = {"paused": False, "changed": changed, "next": due}
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
    if options["json"]:
        command.stdout.write(json.dumps({"name": timetable.name, **facts}, indent=2))
    else:
        command.stdout.write(f"{timetable.name}: {told}")
    return 0


_ACTIONS: Mapping[str, Callable[[BaseCommand, Mapping[str, Any], Timetable], int]] = {
    "pause": _pause,
    "resume": _resume,
    "run": _run,
}


# Listing ------------------------------------------------------------------------


def _list(command: BaseCommand, options: Mapping[str, Any]) -> int:
    settings = get_settings()
    rows = slots.rows(firing.timetables())
    listed = [
        _describe(kind, entry, rows.get(entry.name))
        for kind, entries in (("periodic", settings.periodic), ("reconciler", settings.reconcilers))
        for entry in entries
    ]
    if options["json"]:
        command.stdout.write(json.dumps(listed, indent=2))
    elif not listed:
        command.stdout.write("Nothing stands in JOBQUEUE['PERIODIC'] or JOBQUEUE['RECONCILERS'].")
    else:
        for line in _table(listed):
            command.stdout.write(line)
    return 0


def _describe(kind: str, entry: Timetable, row: Schedule | None) -> dict[str, Any]:
    paused = row is not None and row.paused
    return {
        "name": entry.name,
        "kind": kind,
        "job": entry.job,
        "when": f"every {entry.every} s" if entry.every else f"{entry.cron} ({entry.tz})",
        "next": None if paused else _iso(entry.next(clock.now())),
        "last": None if row is None else _iso(row.last_tick),
        "paused": paused,
        # Claimed, and not in Redis: just now, or Redis is away.
        "unpushed": row is not None and row.pushed_tick < row.last_tick,
    }


def _table(listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    lines = [("NAME", "WHEN", "NEXT", "LAST", "JOB")]
    for each in listed:
        due = "paused" if each["paused"] else _local(each["next"])
        lines.append((each["name"], each["when"], due, _local(each["last"]), each["job"]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _iso(slot: int | None) -> str | None:
    return None if slot is None else datetime.fromtimestamp(slot, UTC).isoformat()


def _local(moment: str | None) -> str:
    """Return a moment as people read it, in the project's time zone."""
    if moment is None:
        return "never"
    local = datetime.fromisoformat(moment).astimezone(timezone.get_default_timezone())
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")
