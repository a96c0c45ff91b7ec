"""``manage.py jobqueue delete``: delete jobs for good."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.bulk import Verb
from django_jobqueue.management import acts

name = "delete"
help = (
    "Delete jobs that wait, or are dead, for good, and free their locks. Asks first. Exit "
    "code 3: some stayed where they were."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    acts.add_arguments(parser, Verb.DELETE)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return acts.act(command, options, Verb.DELETE)
