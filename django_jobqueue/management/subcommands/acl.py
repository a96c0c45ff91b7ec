"""``manage.py jobqueue acl``: the line that makes a Redis user who may do what we do, no more."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.conf import get_settings
from django_jobqueue.store.acl import rules

name = "acl"
help = (
    "Print the ACL SETUSER command that makes a Redis user with the least rights, for the "
    "KEY_PREFIX of the settings. Put a password in the place of PASSWORD. Connects to nothing."
)

#: What stands where a password has to: one that was printed would be read by others.
PLACEHOLDER = "PASSWORD"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--user", default="jobqueue", metavar="NAME", type=_user,
        help="the name of the user (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--enqueue-only",
        action="store_true",
        help="for processes that only enqueue: no workers, no admin, no other commands",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> int:
    """Do it; return the exit code."""
    wanted = rules(get_settings().key_prefix, enqueue_only=options["enqueue_only"])
    words = ["ACL SETUSER", options["user"], "reset", "on", f">{PLACEHOLDER}"]
    command.stdout.write(" ".join([*words, *map(_quoted, wanted)]))
    return 0


def _quoted(word: str) -> str:
    """Return a word as redis-cli reads it, whatever quotes a prefix has."""
    if not set("'\"").intersection(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _user(name: str) -> str:
    if not name or not name.isprintable() or " " in name or name[0] in "'\"":
        raise ArgumentTypeError(f"{name!r} is no name of a user: it has no spaces and no quotes")
    return name
