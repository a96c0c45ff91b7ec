"""``manage.py jobqueue scheduled``: the jobs that run later."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import listing

name = "scheduled"
help = "List the jobs that run later, the next one first."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    listing.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return listing.list_place(command, options, "schedule", ("JID", "CLASS", "QUEUE", "WHEN"))
