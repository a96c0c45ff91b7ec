"""``manage.py jobqueue retry``: let jobs that failed run once more."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.bulk import Verb
from django_jobqueue.management import acts

name = "retry"
help = (
    "Let jobs that failed run once more, now: those that wait for a retry and those that "
    "are dead. The run spends none of their retries. The kill switch and the client "
    "middleware are asked; what they refuse stays where it is. Exit code 3: some stayed "
    "where they were."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    acts.add_arguments(parser, Verb.RETRY)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return acts.act(command, options, Verb.RETRY)
