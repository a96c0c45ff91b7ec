"""``manage.py jobqueue enqueue``: let jobs run now that wait for a time."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.bulk import Verb
from django_jobqueue.management import acts

name = "enqueue"
help = (
    "Let scheduled jobs, and those that wait for a retry, go to their queues now. The kill "
    "switch and the client middleware are asked; what they refuse stays where it is. Exit "
    "code 3: some stayed where they were."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    acts.add_arguments(parser, Verb.ENQUEUE)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return acts.act(command, options, Verb.ENQUEUE)
