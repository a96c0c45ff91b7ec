"""``manage.py jobqueue dead``: the jobs that failed for good, or were killed."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import listing

name = "dead"
help = "List the jobs that failed for good or were killed, the last one first."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    listing.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    columns = ("JID", "CLASS", "QUEUE", "WHEN", "ATTEMPT", "ERROR")
    return listing.list_place(command, options, "dead", columns, newest_first=True)
