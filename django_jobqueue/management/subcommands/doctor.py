"""``manage.py jobqueue doctor``: is anything wrong, and what to do about it."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.doctor import BUDGET, Finding, Level, examine
from django_jobqueue.management import flags
from django_jobqueue.payload import printable

name = "doctor"
help = (
    "Look for what is wrong: with the data in Redis, its settings, the workers, the reconcilers "
    "and the switches. The exit code is 1 when something is: usable as a health check."
)

#: The exit code where something is wrong.
FAULTY = 1


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--budget", type=_seconds, default=BUDGET, metavar="SECONDS",
        help="how long those checks may look that read much, such as that of the locks (default: "
        "%(default)g)",
    )  # fmt: skip
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    findings = examine(budget=options["budget"])
    faults = sum(finding.is_fault for finding in findings)
    facts = {"ok": not faults, "findings": [finding.as_dict() for finding in findings]}
    flags.show(command, options, facts, _lines(findings, faults))
    return FAULTY if faults else 0


def _lines(findings: Sequence[Finding], faults: int) -> Iterator[str]:
    for finding in findings:
        yield f"{finding.level.value.upper()} {finding.id}: {printable(finding.fact)}"
        if finding.way_out:
            yield f"    {printable(finding.way_out)}"
    if findings:
        notes = sum(finding.level is Level.NOTE for finding in findings)
        warnings = len(findings) - faults - notes
        yield f"{faults:,} at fault, {warnings:,} to look at, {notes:,} good to know."
    else:
        yield "Nothing is wrong."


def _seconds(text: str) -> float:
    """Return a budget in seconds. Raises: ArgumentTypeError."""
    try:
        budget = float(text)
    except ValueError:
        budget = -1.0
    if not 0 <= budget <= 86_400:
        raise ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86,400")
    return budget
