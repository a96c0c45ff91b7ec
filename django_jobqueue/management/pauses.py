"""Pause and resume queues by their names."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.api import Queue
from django_jobqueue.exceptions import InvalidQueueName
from django_jobqueue.management import flags, journal
from django_jobqueue.management.places import queue_named
from django_jobqueue.payload import check_queue_name, printable


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("queues", nargs="*", metavar="NAME", help="a queue")
    parser.add_argument("--all", action="store_true", help="every queue that there is")
    flags.add_json(parser)


def act(
    command: BaseCommand, options: Mapping[str, Any], done: str, verb: Callable[[Queue], None]
) -> int:
    """Do it to the queues that are named; return the exit code. Raises: CommandError."""
    if bool(options["queues"]) == options["all"]:
        raise CommandError("Name the queues, or say --all.")
    known = {queue.name for queue in Queue.all()}
    names = sorted(known) if options["all"] else [_named(word) for word in options["queues"]]
    facts, lines = [], []
    for name in names:
        queue = Queue(name)
        changed = queue.paused is (done == "resumed")
        verb(queue)
        if changed:
            journal.note("pause" if done == "paused" else "resume", f"queue {name}")
        told = done if changed else ("was paused already" if done == "paused" else "was not paused")
        unknown = "" if name in known else " (nothing was ever pushed to it: is that its name?)"
        facts.append({"queue": name, "paused": done == "paused", "changed": changed})
        lines.append(f"{printable(name)}: {told}{unknown}")
    flags.show(command, options, facts, lines or ["There is no queue yet."])
    return 0


def _named(word: str) -> str:
    name = queue_named(word)
    if name in {queue.name for queue in Queue.all()}:
        return name  # whoever pushed there
    try:
        return check_queue_name(name)
    except InvalidQueueName as error:
        raise CommandError(str(error)) from error
