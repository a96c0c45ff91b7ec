"""``jobqueue switches``: see the kill switches, and throw them from a shell."""

from __future__ import annotations

import argparse
import difflib
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.connection import store
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.management import flags as output
from django_jobqueue.management import tables
from django_jobqueue.management.confirm import confirm
from django_jobqueue.management.journal import note
from django_jobqueue.payload import printable
from django_jobqueue.reports import switches as reports
from django_jobqueue.scheduling.releaser import release_now
from django_jobqueue.store.removal import Place
from django_jobqueue.switches import events, flags, throwing
from django_jobqueue.switches.naming import PREFIX, flag_names
from django_jobqueue.switches.state import OFF, ON, State
from django_jobqueue.switches.switches import switches

name = "switches"
help = "List the kill switches, turn them on and off, release or purge what they hold."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions; without one the switches are listed."""
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", parents=[as_json], help="list all switches (the default)")
    for action, told in (
        ("disable", "stop a job: its switch is on for everyone"),
        ("enable", "let a job go again: its switches are off"),
        ("percent", "stop a share of the jobs"),
    ):
        of_one = actions.add_parser(action, parents=[as_json], help=told)
        of_one.add_argument(
            "name", metavar="NAME", help="a job's class name or dotted path, or a flag's name"
        )
        if action == "percent":
            of_one.add_argument("percent", metavar="N", type=float, help="from 0 to 100")
    for action, told in (
        ("release", "let held jobs go at once, not at the rate of RELEASE_RATE"),
        ("purge", "delete held jobs for good, and free their locks"),
    ):
        of_held = actions.add_parser(action, parents=[as_json], help=told)
        of_held.add_argument("name", metavar="NAME", help="a job's class name or dotted path")
        if action == "release":
            of_held.add_argument("--limit", type=int, metavar="N", help="so many at most")
        else:
            of_held.add_argument("--yes", action="store_true", help="ask nothing")


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do what was asked; return the exit code. Raises: CommandError."""
    if not flags.is_installed():
        raise CommandError("waffle is not in INSTALLED_APPS: there are no kill switches.")
    return _ACTIONS[options["action"] or "list"](command, options)


# What a name stands for -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The switches that a name stands for, the one to throw first, and their job classes."""

    flags: tuple[str, ...]
    classes: tuple[type[Job], ...]


def find_target(name: str) -> Target:
    """
    Return what a name stands for: a dotted path, a flag, or the name of a class.

    Raises: CommandError for one that stands for nothing, or for several classes.
    """
    classes = registry().classes()
    exact = [cls for cls in classes if name in (wire_name(cls), _path(cls))]
    if not exact:
        for flag in (name, f"{PREFIX}{name}"):
            owners = tuple(cls for cls in classes if flag in flag_names(cls))
            if owners or (flags.is_switch(flag) and flag in flags.read_states()):
                return Target((flag,), owners)
        exact = [cls for cls in classes if name in (cls.__name__, cls.__qualname__)]
    if len(exact) > 1:
        paths = ", ".join(map(_path, exact))
        raise CommandError(f"{name!r} may be any of {paths}: give the dotted path.")
    if not exact:
        raise CommandError(f"There is no job and no kill switch {name!r}.{_suggest(name, classes)}")
    return Target(flag_names(exact[0]), (exact[0],))


def _suggest(name: str, classes: Iterable[type[Job]]) -> str:
    known = [word for cls in classes for word in (cls.__name__, flag_names(cls)[0], _path(cls))]
    close = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(
        f"{PREFIX}{name}", known, n=1
    )
    return f" Did you mean {close[0]!r}?" if close else ""


def _path(cls: type[Job]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# Throwing -----------------------------------------------------------------------


def _disable(command: BaseCommand, options: Mapping[str, Any]) -> int:
    return _throw(command, options, find_target(options["name"]).flags[:1], ON)


def _enable(command: BaseCommand, options: Mapping[str, Any]) -> int:
    # All of them: a flag under a former name stops the job as well.
    names = throwing.standing_in_the_way(find_target(options["name"]).flags)
    return _throw(command, options, names, OFF)


def _percent(command: BaseCommand, options: Mapping[str, Any]) -> int:
    percent = options["percent"]
    if not 0 <= percent <= 100:
        raise CommandError(f"{percent:g} is not a percentage: give a number from 0 to 100.")
    state = State.partial(percent)
    return _throw(command, options, find_target(options["name"]).flags[:1], state)


def _throw(
    command: BaseCommand, options: Mapping[str, Any], names: Iterable[str], state: State
) -> int:
    changes = throwing.throw(names, state, actor=events.os_user(), source=events.Source.COMMAND)
    for change in changes:
        note("throws a kill switch", change.flag, state=state.encode())
    plain = [
        {"flag": change.flag, "from": change.old.encode(), "to": change.new.encode()}
        for change in changes
    ]
    lines = (f"{change.flag}: {change.old} -> {change.new}" for change in changes)
    output.show(command, options, plain, lines)
    return 0


# Held jobs ----------------------------------------------------------------------


def _release(command: BaseCommand, options: Mapping[str, Any]) -> int:
    job_class, limit = _held_class(options["name"]), options["limit"]
    if limit is not None and limit < 1:
        raise CommandError(f"--limit {limit}: it is a number from 1 on.")
    switches().refresh(force=True)
    if switches().is_on(job_class):
        raise CommandError(
            f"The kill switch of {job_class} is on: its jobs would be held again. Turn it off "
            f"first: jobqueue switches enable {options['name']}"
        )
    count = release_now(store(), job_class, limit)
    return _tell(command, options, "released", job_class, count)


def _purge(command: BaseCommand, options: Mapping[str, Any]) -> int:
    job_class = _held_class(options["name"])
    held = store().held.classes().get(job_class, 0)
    if held and not options["yes"]:
        warning = f"{held} held job(s) of {printable(job_class)} will be deleted for good."
        confirm(command, warning, options["name"])
    place = Place.held(store().keys, job_class)
    count = store().removal.clear(place)
    return _tell(command, options, "purged", job_class, count)


def _held_class(name: str) -> str:
    """Return the wire name of the class that held jobs are asked of; it may be unknown here."""
    if name in store().held.classes():
        return name
    classes = find_target(name).classes
    if len(classes) != 1:
        raise CommandError(f"{name!r} is no job class: give its name or dotted path.")
    return wire_name(classes[0])


def _tell(
    command: BaseCommand, options: Mapping[str, Any], done: str, job_class: str, count: int
) -> int:
    note(f"{done} held jobs", job_class, count)
    line = f"{printable(job_class)}: {count} job(s) {done}"
    output.show(command, options, {"job": job_class, done: count}, [line])
    return 0


# Listing ------------------------------------------------------------------------


def _list(command: BaseCommand, options: Mapping[str, Any]) -> int:
    found = reports.switches()
    rows = [row.as_dict() for row in found.switches]
    output.show(command, options, rows, _lines(command, found))
    return 0


def _lines(command: BaseCommand, found: reports.Switches) -> Iterator[str]:
    head = ("SWITCH", "STATE", "REFUSED", "HELD", "DROPPED", "SINCE", "BY", "JOB")
    rows = [
        (
            row.flag,
            str(State.decode(row.state)),
            *("?" if count is None else count for count in (row.refused, row.held, row.dropped)),
            "" if row.since is None else row.since.isoformat()[:19],
            " ".join(filter(None, (row.actor, row.source))),
            ", ".join(row.jobs),
        )
        for row in found.switches
    ]
    yield from tables.table(head, rows, limit=tables.columns_of(command))
    yield f"Refused and dropped: in the last {reports.MINUTES} minutes. Held: now."
    for row in found.switches:
        if reports.Note.SAYS_NOTHING in row.notes:
            yield f"! {row.flag} is Unknown without a percentage: it stops nothing."
    if found.told is False:
        yield "! Redis has other states: processes are told by the next worker that looks."
    if not found.refuses:
        yield "! CLIENT_MIDDLEWARE has no KillSwitch: nothing is refused, only held by workers."


_ACTIONS: Mapping[str, Callable[[BaseCommand, Mapping[str, Any]], int]] = {
    "list": _list,
    "disable": _disable,
    "enable": _enable,
    "percent": _percent,
    "release": _release,
    "purge": _purge,
}
