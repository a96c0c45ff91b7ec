"""``manage.py runjobs``: the worker."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.conf import Settings, get_settings
from django_jobqueue.connection import open_store
from django_jobqueue.exceptions import BootError, EmbeddedServerUnavailable
from django_jobqueue.job.registry import registry
from django_jobqueue.worker.boot import check_jobs, wait_for_redis
from django_jobqueue.worker.launcher import crash_policy, run_child
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.progress import Progress
from django_jobqueue.worker.supervisor import Supervisor


class Command(BaseCommand):
    """Run jobs until told to stop. The exit codes are in ``help``."""

    help = (
        "Run background jobs. TERM, INT and HUP stop gracefully (a second one at once), TSTP and "
        "USR1 take no more jobs, TTIN logs what every thread does. Exit codes: 0 stopped or "
        "drained; 1 wrong configuration or a fault at the start; 3 stopped, and jobs were left to "
        "recovery; 75 Redis could not be reached."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags. Their defaults are in settings.JOBQUEUE."""
        parser.add_argument(
            "-c", "--concurrency", type=int, help="threads in each process (default: 10)"
        )
        parser.add_argument("-p", "--processes", type=int, help="worker processes (default: 1)")
        parser.add_argument(
            "-q", "--queue", action="append", default=[], dest="queues", metavar="NAME[,WEIGHT]",
            help="a queue to work on; may be repeated, or be a comma list of names "
            "(default: every queue that a job names)",
        )  # fmt: skip
        parser.add_argument(
            "--strict", action="store_true", help="empty each queue before the next one"
        )
        parser.add_argument(
            "-t", "--timeout", type=float, help="seconds that running jobs have to end at a stop"
        )
        parser.add_argument(
            "--burst", action="store_true", help="end as soon as the queues are empty"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, then supervise until the end. Raises: CommandError with the exit code."""
        _set_up_logging(options["verbosity"])
        try:
            settings = get_settings()
            check_jobs()
            worker_options = _worker_options(settings, options)
            code = _run(settings, worker_options, show=options["verbosity"] > 0)
        except (BootError, EmbeddedServerUnavailable) as error:
            raise CommandError(str(error), returncode=getattr(error, "exit_code", 1)) from error
        if code:
            sys.exit(code)


def _run(settings: Settings, options: WorkerOptions, *, show: bool) -> int:
    store = open_store(settings)
    progress = Progress(store, options.queues.names) if options.burst and show else None

    def child_main(identity: str, control: int, report: int) -> int:
        return run_child(open_store(settings), settings, options, identity, control, report)

    supervisor = Supervisor(
        store,
        options,
        crash_policy(settings),
        child_main,
        progress.update if progress else None,
    )
    wait_for_redis(store, settings, supervisor.wait)
    if progress:
        progress.begin()
    try:
        return supervisor.run()
    finally:
        if progress:
            progress.end()


def _worker_options(settings: Settings, given: dict[str, Any]) -> WorkerOptions:
    def chosen(name: str, default: Any) -> Any:
        return default if given[name] is None else given[name]

    if given["queues"]:
        queues = QueueOrder.parse(given["queues"], strict=given["strict"])
    elif settings.queues:
        weights = {entry.name: entry.weight for entry in settings.queues}
        queues = QueueOrder(weights, given["strict"])
    else:
        queues = QueueOrder(dict.fromkeys(registry().queues(), 1), given["strict"])
    return WorkerOptions(
        queues=queues,
        concurrency=chosen("concurrency", settings.concurrency),
        processes=chosen("processes", settings.processes),
        timeout=chosen("timeout", settings.shutdown_timeout),
        burst=given["burst"],
        lease=settings.lease,
        ack_each=settings.ack == "each",
    )


def _set_up_logging(verbosity: int) -> None:
    """Show our log on stderr where the project has not said where it goes."""
    logger = logging.getLogger("django_jobqueue")
    if logger.handlers or verbosity == 0:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    logger.propagate = False
