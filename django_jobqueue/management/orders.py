"""Give orders to worker processes by their identities, or by the hosts that they run on."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.api import Process, ProcessSet
from django_jobqueue.management import flags, journal
from django_jobqueue.management.confirm import confirm
from django_jobqueue.payload import printable

#: The exit code where a process takes no orders.
STAYED = 3

#: What is typed to give an order to all.
WORD = "all"


def add_arguments(parser: ArgumentParser, *, is_grave: bool) -> None:
    """Declare the flags; a grave order to all is asked about first."""
    parser.add_argument(
        "processes", nargs="*", metavar="PROCESS",
        help="a process by its identity, as 'busy' shows it, by HOST:PID, or all of a HOST",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="every process that there is")
    if is_grave:
        parser.add_argument("--yes", action="store_true", help="ask nothing")
    flags.add_json(parser)


def send(
    command: BaseCommand, options: Mapping[str, Any], order: str, give: Callable[[Process], bool]
) -> int:
    """Give an order to the processes that are named; return the exit code. Raises: CommandError."""
    if bool(options["processes"]) == options["all"]:
        raise CommandError("Name the processes, or say --all.")
    alive = list(ProcessSet())
    chosen = alive if options["all"] else _chosen(alive, options["processes"])
    if not chosen:
        raise CommandError("No process works.")
    if options["all"] and not options.get("yes", True):
        confirm(command, f"This is for all {len(chosen):,} worker processes: {order}.", WORD)
    facts, lines, code = [], [], 0
    for process in chosen:
        heard = give(process)
        if heard:
            journal.note(order, f"process {process.identity}")
            told = "is told, and obeys with its next beat"
        else:
            code = STAYED
            told = "takes no orders" if process.embedded else "has gone meanwhile"
        facts.append({"process": process.identity, "order": order, "told": heard})
        lines.append(f"{printable(process.identity)} {told}")
    flags.show(command, options, facts, lines)
    return code


def _chosen(alive: Sequence[Process], names: Sequence[str]) -> list[Process]:
    chosen: dict[str, Process] = {}
    for name in names:
        found = [process for process in alive if name in _names_of(process)]
        if not found:
            known = ", ".join(printable(process.identity) for process in alive[:10])
            raise CommandError(
                f"No process {name!r} works. There are: {known or 'none'}. 'busy' shows them."
            )
        chosen |= {process.identity: process for process in found}
    return list(chosen.values())


def _names_of(process: Process) -> tuple[str, ...]:
    return process.identity, process.hostname, f"{process.hostname}:{process.pid}"
