"""The flags that subcommands share, so that each is called the same and means the same."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_jobqueue import clock
from django_jobqueue.api import Filter
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry

#: Seconds of the units in which a length of time is given.
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([+-]?)(\d+(?:\.\d+)?)([smhdw])")


# Output ----------------------------------------------------------------------------------


class Adds(Protocol):
    """A parser, or a group of one."""

    def add_argument(self, *names: str, **how: Any) -> Any:
        """Declare one."""


def add_json(parser: Adds) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def show(
    command: BaseCommand, options: Mapping[str, Any], plain: Any, lines: Iterable[str]
) -> None:
    """Write what a subcommand has to tell: as JSON if that is wanted, else line by line."""
    if options["json"]:
        command.stdout.write(json.dumps(plain, indent=2))
        return
    for line in lines:
        command.stdout.write(line)


# Which jobs ------------------------------------------------------------------------------


def add_filters(parser: Adds) -> None:
    """Declare the conditions; a job has to meet all that are given."""
    parser.add_argument(
        "--class", dest="job_class", default="", metavar="NAME",
        help="of this class: its name, dotted path or wire name",
    )  # fmt: skip
    parser.add_argument(
        "--error", dest="error_class", default="", metavar="NAME",
        help="whose last error has this class",
    )  # fmt: skip
    parser.add_argument(
        "--message", default="", metavar="TEXT",
        help="whose error begins with this; '#' stands for any number, as 'errors' shows it",
    )  # fmt: skip
    parser.add_argument(
        "--frame", default="", metavar="TEXT", help="raised there, as 'errors' shows it"
    )
    parser.add_argument("--queue", default="", metavar="NAME", help="that belong to this queue")
    parser.add_argument("--tag", default="", metavar="TEXT", help="that have this tag")
    parser.add_argument(
        "--text", default="", metavar="TEXT", help="in whose bytes this stands, case and all"
    )
    parser.add_argument(
        "--since", type=moment, metavar="WHEN",
        help="whose time (when it runs, died, is held or queued since) is not before this: 2h (two "
        "hours ago), +2h (in two hours) or 2027-01-31T08:00",
    )  # fmt: skip
    parser.add_argument("--until", type=moment, metavar="WHEN", help="whose time is not after this")


def filter_of(options: Mapping[str, Any]) -> Filter:
    """Return the filter that a command line tells. Raises: CommandError."""
    names = ("error_class", "message", "frame", "queue", "tag", "text", "since", "until")
    given = {name: options[name] for name in names if options[name] not in ("", None)}
    if options["job_class"]:
        given["job_class"] = class_named(options["job_class"])
    try:
        return Filter.of(given)
    except InvalidQuery as error:
        raise CommandError(str(error)) from error


def class_named(name: str) -> str:
    """
    Return the wire name of the class that a name stands for.

    It is the name itself where no class of ours has it, for others push jobs, too.

    Raises: CommandError for a name of several classes.
    """
    classes = registry().classes()
    paths = {cls: f"{cls.__module__}.{cls.__qualname__}" for cls in classes}
    exact = [cls for cls, path in paths.items() if name in (wire_name(cls), path)]
    found = exact or [cls for cls in classes if name in (cls.__name__, cls.__qualname__)]
    if len(found) > 1:
        raise CommandError(
            f"{name!r} may be any of {', '.join(sorted(map(wire_name, found)))}: give one of these."
        )
    return wire_name(found[0]) if found else name


def moment(text: str) -> datetime:
    """
    Return a time of the command line: ``2h`` ago, ``+2h`` from now, or ISO 8601.

    Without an offset it is in the project's time zone. Raises: ArgumentTypeError.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            ahead = 1 if span[1] == "+" else -1
            at = clock.now() + ahead * float(span[2]) * _UNITS[span[3]]
            return datetime.fromtimestamp(at, timezone.get_default_timezone())
        found = parse_datetime(text)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        raise ArgumentTypeError(
            f"{text!r} is no time: give 90s, 30m, 2h or 7d (ago), +2h (from now), or "
            "2027-01-31T08:00"
        )
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def count(text: str) -> int:
    """Return a number of things, from 1 on. Raises: ArgumentTypeError."""
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found < 1:
        raise ArgumentTypeError(f"{text!r} is no count: give a whole number from 1 on")
    return found


def position(text: str) -> int:
    """Return a place to begin at, from 0 on. Raises: ArgumentTypeError."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no place to begin at: give a whole number from 0 on")
    return int(text)
