"""``manage.py jobqueue stop``: let worker processes end in good order."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.api import Process
from django_jobqueue.management import orders

name = "stop"
help = (
    "Let worker processes stop as by SIGTERM: what runs has the time of SHUTDOWN_TIMEOUT to end, "
    "the rest goes back. They obey within ten seconds. Exit code 3: one of them takes no orders."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    orders.add_arguments(parser, is_grave=True)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return orders.send(command, options, "stop", Process.stop)
