"""``manage.py jobqueue metrics``: how often each class ran and failed, and how long it took."""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.management import flags, tables
from django_jobqueue.payload import printable
from django_jobqueue.reports.metrics import MetricsFacts, metrics

name = "metrics"
help = (
    "Show what every class did in the last hour, the one that took most time first; or one class, "
    "minute by minute. P50 and the like are what so many percent of the attempts did not pass."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "job", nargs="?", metavar="CLASS", help="a class by its name, dotted path or wire name"
    )
    span = parser.add_mutually_exclusive_group()
    span.add_argument(
        "--minutes", type=flags.count, metavar="N", help="of so many minutes, up to 480"
    )
    span.add_argument(
        "--hours", type=flags.count, metavar="N",
        help="of so many hours, up to 72, in steps of ten minutes",
    )  # fmt: skip
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    job_class = flags.class_named(options["job"]) if options["job"] else None
    try:
        found = metrics(job_class, minutes=options["minutes"], hours=options["hours"])
    except InvalidQuery as error:
        raise CommandError(str(error)) from error
    told = _of_all if job_class is None else _of_one
    flags.show(command, options, found.as_dict(), told(command, found))
    return 0


def _of_all(command: BaseCommand, found: MetricsFacts) -> Iterator[str]:
    rows = [
        (
            job.name, job.processed, job.failed, tables.share(job.failure_rate),
            tables.span(job.average), _end(job.p50), _end(job.p95), _end(job.p99),
            tables.span(job.seconds),
        )
        for job in found.jobs
    ]  # fmt: skip
    if rows:
        head = ("CLASS", "ATTEMPTS", "FAILED", "RATE", "MEAN", "P50", "P95", "P99", "TOTAL")
        yield from tables.table(head, rows, limit=tables.columns_of(command))
    yield from _footer(found)


def _of_one(command: BaseCommand, found: MetricsFacts) -> Iterator[str]:
    (job,) = found.jobs
    yield from tables.facts(
        (
            ("class", job.name),
            ("attempts", job.processed),
            ("failed", f"{job.failed:,} ({tables.share(job.failure_rate)})"),
            ("mean", tables.span(job.average)),
            ("p50, p95, p99", ", ".join(map(_end, (job.p50, job.p95, job.p99)))),
            ("total", tables.span(job.seconds)),
        )
    )
    rows = [
        (tables.local(point.at), point.processed, point.failed, tables.span(point.seconds))
        for point in job.series
        if point.processed
    ]
    if rows:
        yield ""
        head = ("FROM", "ATTEMPTS", "FAILED", "TOTAL")
        yield from tables.table(head, rows, limit=tables.columns_of(command))
    yield from _footer(found)


def _end(seconds: float | None) -> str:
    return "over 335 s" if seconds == math.inf else tables.span(seconds)


def _footer(found: MetricsFacts) -> Iterator[str]:
    yield f"From {tables.local(found.starts_at)} to {tables.local(found.ends_at)}."
    for mark in found.marks:
        yield f"Deployed at {tables.local(mark.at)}: {printable(mark.label)}"
