"""``manage.py jobqueue reconcile``: run reconcilers here and now, or tell what they would do."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.exceptions import UnknownReconciler
from django_jobqueue.management import flags, tables
from django_jobqueue.reconciliation.forecast import Forecast, forecast
from django_jobqueue.reconciliation.pairs import find, timetable_of
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.reconciliation.report import RunReport, RunStatus
from django_jobqueue.reconciliation.rows import ordered
from django_jobqueue.reconciliation.run import reconcile
from django_jobqueue.reports.reconcilers import ReconcilerFacts, Reconcilers, reconcilers

#: Exit codes: a run failed; a dry run found something to do.
FAILED = 1
FOUND = 3

name = "reconcile"
help = (
    "Run reconcilers in this process: enqueue what is missing in Redis by the state of the "
    "database. Exit codes: 1 a run failed; 3 a dry run found something to enqueue."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a reconciler, by its class's name or dotted path"
    )
    parser.add_argument("--all", action="store_true", help="every reconciler that there is")
    parser.add_argument(
        "--list",
        action="store_true",
        help="show how each stands, and the jobs that nobody heals; nothing is run",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be enqueued, and enqueue nothing"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print how the database plans the query of a page"
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="go by the jobs that stand in Redis and not by their locks, and however late the "
        "queue is",
    )
    parser.add_argument(
        "--retry-dead",
        action="store_true",
        help="also enqueue rows that are left alone because their job has died a short while ago",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object a reconciler")


def handle(command: BaseCommand, options: dict[str, Any]) -> int:
    """Do it; return the exit code."""
    if options["list"]:
        return _list(command, options)
    if bool(options["names"]) == options["all"]:
        raise CommandError("Name the reconcilers, or say --all (or --list).")
    chosen = chosen_by(options["names"])
    if options["explain"]:
        return _explain(command, chosen, options)
    if options["dry_run"]:
        return _dry_run(command, chosen, options)
    return _run(command, chosen, options)


def chosen_by(names: Sequence[str]) -> list[type[Reconciler]]:
    """Return the reconcilers that a command line names; all without names. Raises: CommandError."""
    try:
        return find(names)
    except UnknownReconciler as error:
        raise CommandError(str(error)) from error


def _run(command: BaseCommand, chosen: Sequence[type[Reconciler]], options: dict[str, Any]) -> int:
    code = 0
    for cls in chosen:
        plan = cls().plan()
        try:
            report = _once_more(plan, exact=options["exact"], retry_dead=options["retry_dead"])
        except Exception as error:  # it is written down; the others have their turn
            code = FAILED
            failure = {"name": plan.name, "status": RunStatus.FAILED.value, "error": str(error)}
            _print(command, options, failure, f"{plan.name}: failed: {error}")
        else:
            _print(command, options, report.as_dict(), _told(report))
    return code


def _once_more(plan: Plan, *, exact: bool, retry_dead: bool) -> RunReport:
    """Run, and run again where Redis lost its data meanwhile."""
    report = reconcile(plan, exact=exact, retry_dead=retry_dead)
    if report.status is RunStatus.PARTIAL:
        report = reconcile(plan, exact=exact, retry_dead=retry_dead)
    return report


def _dry_run(
    command: BaseCommand, chosen: Sequence[type[Reconciler]], options: dict[str, Any]
) -> int:
    code = 0
    for cls in chosen:
        seen = forecast(cls().plan(), timetable_of(cls), exact=options["exact"])
        _print(command, options, seen.as_dict(), _foretold(seen))
        if seen.would_enqueue:
            code = FOUND
    return code


def _explain(
    command: BaseCommand, chosen: Sequence[type[Reconciler]], options: dict[str, Any]
) -> int:
    for cls in chosen:
        plan = cls().plan()
        text = ordered(plan)[: plan.batch_size].explain()
        _print(command, options, {"name": plan.name, "plan": text}, f"{plan.name}:\n{text}")
    return 0


def _list(command: BaseCommand, options: dict[str, Any]) -> int:
    found = reconcilers()
    flags.show(command, options, found.as_dict(), _lines(command, found))
    return 0


def _lines(command: BaseCommand, found: Reconcilers) -> Iterator[str]:
    head = ("RECONCILER", "STATUS", "SUCCEEDED", "NEXT", "FOUND", "ENQUEUED", "OLDEST", "JOB")
    rows = [
        (
            each.name, _standing(each), tables.ago(each.succeeded_at, found.at), _due(each, found),
            each.found, each.pushed, tables.span(each.oldest_pending), each.job,
        )
        for each in found.reconcilers
    ]  # fmt: skip
    if rows:
        yield from tables.table(head, rows, limit=tables.columns_of(command))
    else:
        yield "There is no reconciler."
    for job in found.unpaired:
        yield f"! {job} has no reconciler, and does not say self_healing = False."


def _standing(each: ReconcilerFacts) -> str:
    marks = [each.status or "never ran"]
    marks += ["behind"] if each.behind else []
    marks += ["overdue"] if each.overdue else []
    return ", ".join([*marks, *each.stopped_by])


def _due(each: ReconcilerFacts, found: Reconcilers) -> str:
    if each.schedule is None:
        return "not listed"
    return "paused" if each.schedule.paused else tables.ago(each.schedule.next, found.at)


def _print(
    command: BaseCommand, options: dict[str, Any], facts: dict[str, Any], sentence: str
) -> None:
    command.stdout.write(json.dumps(facts) if options["json"] else sentence)


def _told(report: RunReport) -> str:
    line = (
        f"{report.name}: {report.status}: {report.found:,} found, {report.pushed:,} enqueued, "
        f"{report.duplicates:,} queued already, {report.cooling:,} cooling down, "
        f"{report.disabled + report.refused:,} refused, {report.errors:,} with errors, "
        f"in {report.elapsed:.1f} s"
    )
    return f"{line}\n{report.error}" if report.error else line


def _foretold(seen: Forecast) -> str:
    heals = "never by itself" if seen.heals_in is None else f"in some {seen.heals_in:,.0f} s"
    blocked = f" (a run would end as {seen.blocked})" if seen.blocked else ""
    line = (
        f"{seen.name}: {seen.found:,} found, {seen.queued:,} queued already, "
        f"{seen.cooling:,} cooling down, {seen.errors:,} with errors, "
        f"{seen.would_enqueue:,} would be enqueued{blocked}; heals {heals}"
    )
    return f"{line}\n{seen.error}" if seen.error else line
