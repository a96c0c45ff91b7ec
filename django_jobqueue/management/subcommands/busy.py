"""``manage.py jobqueue busy``: the worker processes, and what they run."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import flags, screens, tables
from django_jobqueue.payload import printable
from django_jobqueue.reports.processes import Processes, processes, work

name = "busy"
help = (
    "List the worker processes and the jobs that run, the longest running first, as of the last "
    "ten seconds."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    found, running = processes(), work()
    limit = tables.columns_of(command)
    lines = [
        *screens.process_lines(found, limit=limit),
        *_silent(found),
        "",
        *screens.work_lines(running, limit=limit),
    ]
    plain = {"processes": found.as_dict(), "work": running.as_dict()}
    flags.show(command, options, plain, lines)
    return 0


def _silent(found: Processes) -> Iterator[str]:
    for identity, left in sorted(found.silent.items()):
        when = f"in {tables.span(left)}" if left > 0 else "any moment"
        yield f"! {printable(identity)} is silent: its jobs are taken back {when}."
