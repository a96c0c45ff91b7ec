"""``manage.py jobqueue kill``: move jobs that wait to the dead set."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.bulk import Verb
from django_jobqueue.management import acts

name = "kill"
help = (
    "Move jobs that wait to the dead set, from where 'retry dead' brings them back. Many "
    "are asked about first: the dead set has a bound. Exit code 3: some stayed where they "
    "were."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    acts.add_arguments(parser, Verb.KILL)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return acts.act(command, options, Verb.KILL)
