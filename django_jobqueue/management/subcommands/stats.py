"""``manage.py jobqueue stats``: everything at a glance."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import flags, screens, tables
from django_jobqueue.reports.overview import overview

name = "stats"
help = (
    "Show how much was done, waits and runs, the queues, and what wants a look: kill switches "
    "that are on, queues that are paused or that nobody works. 'top' shows it all the time."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    found = overview()
    limit = tables.columns_of(command)
    lines = [
        *screens.overview_lines(found, limit=limit),
        "",
        *screens.queue_lines(found.queues, limit=limit),
    ]
    flags.show(command, options, found.as_dict(), lines)
    return 0
