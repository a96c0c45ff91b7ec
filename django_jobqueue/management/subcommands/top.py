"""``manage.py jobqueue top``: the overview, the processes and what runs, all the time."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.exceptions import StoreError
from django_jobqueue.management import flags, screens, tables
from django_jobqueue.management.painters import BatchPainter, Painter, TerminalPainter
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.overview import overview
from django_jobqueue.reports.processes import processes, work

#: Seconds between two looks where nothing is said, and at least.
INTERVAL = 2.0
SHORTEST = 0.1

name = "top"
help = (
    "Show the overview, the processes and what runs, again and again; 'q' or Ctrl-C ends it. "
    "Where the output is no terminal, everything is written one below the other."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--interval", type=_interval, default=INTERVAL, metavar="SECONDS",
        help="look that often, every 0.1 s at most (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--count", type=flags.count, metavar="N", help="end after so many looks")
    parser.add_argument(
        "--json", action="store_true", help="write JSON, an object in a line each time"
    )


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it until it is ended; return the exit code."""
    if options["json"] or not command.stdout.isatty():
        painter: Painter = BatchPainter(command.stdout, is_spaced=not options["json"])
    else:
        painter = _terminal()
    look = _json if options["json"] else _screen
    try:
        with closing(painter):
            _show(painter, options, look)
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # as for top(1), that is how it ends
    return 0


def _show(
    painter: Painter,
    options: Mapping[str, Any],
    look: Callable[[int | None], Iterator[str]],
) -> None:
    looked = 0
    while True:
        painter.paint(list(look(painter.columns)))
        looked += 1
        if looked == options["count"] or painter.wait(options["interval"]):
            return


def _screen(columns: int | None) -> Iterator[str]:
    try:
        yield from _all(columns)
    except StoreError as error:
        # A Redis that is away is what somebody may be watching for, and no reason to end.
        yield tables.cut(f"! {tables.local(now())}  {error}", columns)


def _all(columns: int | None) -> list[str]:
    found, alive, running = overview(), processes(), work()
    return [
        tables.local(found.at),
        *screens.overview_lines(found, limit=columns),
        "",
        *screens.queue_lines(found.queues, limit=columns),
        "",
        *screens.process_lines(alive, limit=columns),
        "",
        *screens.work_lines(running, limit=columns),
    ]


def _json(columns: int | None) -> Iterator[str]:
    try:
        facts = {"overview": overview(), "processes": processes(), "work": work()}
        yield json.dumps({name: each.as_dict() for name, each in facts.items()})
    except StoreError as error:
        yield json.dumps({"at": now().isoformat(), "error": str(error)})


def _terminal() -> Painter:
    try:
        from django_jobqueue.management.rich_painter import RichPainter
    except ImportError:  # the extra "cli" brings rich
        return TerminalPainter(sys.stdout)
    return RichPainter(sys.stdout)


def _interval(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not SHORTEST <= found <= 86_400:
        raise ArgumentTypeError(f"{text!r} is no interval: give seconds from {SHORTEST} on")
    return found
