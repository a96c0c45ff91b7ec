"""``manage.py jobqueue stacks``: let worker processes log what their threads do."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.api import Process
from django_jobqueue.management import orders

name = "stacks"
help = (
    "Let worker processes write the stacks of all their threads to their log, within ten "
    "seconds. Exit code 3: one of them takes no orders."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    orders.add_arguments(parser, is_grave=False)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return orders.send(command, options, "stacks", Process.dump_stacks)
