"""``manage.py jobqueue release``: let held jobs go."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.bulk import Verb
from django_jobqueue.management import acts

name = "release"
help = (
    "Let jobs that a kill switch holds go to their queues at once, past the rate of "
    "RELEASE_RATE. While the switch is on they stay. Exit code 3: some stayed where they "
    "were."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    acts.add_arguments(parser, Verb.RELEASE)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return acts.act(command, options, Verb.RELEASE)
