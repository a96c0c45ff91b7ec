"""``manage.py jobqueue pause``: keep the workers from taking jobs of a queue."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.api import Queue
from django_jobqueue.management import pauses

name = "pause"
help = (
    "Keep all workers from taking jobs of queues, at once and until 'resume'. What runs goes on, "
    "and pushes are accepted. To stop one class and not a queue, see 'switches disable'."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    pauses.add_arguments(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    return pauses.act(command, options, "paused", Queue.pause)
