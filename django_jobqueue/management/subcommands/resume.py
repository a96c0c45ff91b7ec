"""``manage.py jobqueue resume``: let the workers take jobs of a queue again."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.api import Queue
from django_jobqueue.management import pauses

name = "resume"
help = "Let the workers take jobs of queues again that were paused."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    pauses.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return pauses.act(command, options, "resumed", Queue.resume)
