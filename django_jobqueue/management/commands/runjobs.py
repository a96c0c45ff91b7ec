"""``manage.py runjobs``: the worker."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from django_jobqueue.conf import Settings, get_settings
from django_jobqueue.connection import open_store
from django_jobqueue.exceptions import BootError, EmbeddedServerUnavailable
from django_jobqueue.job.registry import registry
from django_jobqueue.log import JsonFormatter
from django_jobqueue.worker import exit_codes, reloading
from django_jobqueue.worker.boot import check_jobs, check_keys, wait_for_redis
from django_jobqueue.worker.chores import crash_policy
from django_jobqueue.worker.launcher import run_child
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.pid_file import PidFile
from django_jobqueue.worker.probes import ProbeOptions, Probes
from django_jobqueue.worker.progress import Progress
from django_jobqueue.worker.supervisor import Supervisor

logger = logging.getLogger("django_jobqueue.worker")


class Command(BaseCommand):
    """Run jobs until told to stop. The exit codes are in ``help``."""

    help = (
        "Run background jobs. TERM, INT and HUP stop gracefully (a second one at once), TSTP and "
        "USR1 take no more jobs, TTIN logs what every thread does. "
        f"Exit codes: {exit_codes.told()}."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags. Their defaults are in settings.JOBQUEUE."""
        parser.add_argument(
            "-c", "--concurrency", type=int, help="threads in each process (default: 10)"
        )
        parser.add_argument(
            "--async-concurrency", type=int, metavar="N",
            help="async jobs at a time on the event loop of each process; 0 runs them in threads "
            "(default: 100)",
        )  # fmt: skip
        parser.add_argument("-p", "--processes", type=int, help="worker processes (default: 1)")
        _add_queues(parser)
        parser.add_argument(
            "-t", "--timeout", type=float, help="seconds that running jobs have to end at a stop"
        )
        parser.add_argument(
            "--burst", action="store_true", help="end as soon as the queues are empty"
        )
        _add_limits(parser)
        parser.add_argument(
            "--reload", action=BooleanOptionalAction, default=None,
            help="start again when the source changes (default: when DEBUG, without --burst)",
        )  # fmt: skip
        _add_watching(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, then supervise until the end. Raises: CommandError with the exit code."""
        _set_up_logging(options["verbosity"], options["log_format"])
        try:
            code = _run(options)
        except (BootError, EmbeddedServerUnavailable) as error:
            raise CommandError(str(error), returncode=getattr(error, "exit_code", 1)) from error
        if code:
            sys.exit(code)


def _add_queues(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-q", "--queue", action="append", default=[], dest="queues", metavar="NAME[,WEIGHT]",
        help="a queue to work on; may be repeated, or be a comma list of names "
        "(default: every queue that a job names)",
    )  # fmt: skip
    parser.add_argument(
        "--exclude-queue", action="append", default=[], dest="excluded", metavar="NAME",
        help="a queue not to work on; may be repeated, or be a comma list of names",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="empty each queue before the next one"
    )


def _add_limits(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--max-jobs", type=int, metavar="N",
        help="replace each process after N to 1.1 x N jobs, in good order",
    )  # fmt: skip
    parser.add_argument(
        "--max-memory", type=float, metavar="MB",
        help="replace each process that has grown by so much since its start, in good order",
    )  # fmt: skip


def _add_watching(parser: ArgumentParser) -> None:
    parser.add_argument("--pid-file", metavar="PATH", help="write the pid to signal there")
    parser.add_argument(
        "--probe-port", metavar="[ADDRESS:]PORT",
        help="answer GET /live and /ready there with 200 or 503 (default address: 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument("--ready-file", metavar="PATH", help="a file that is there while ready")
    parser.add_argument("--live-file", metavar="PATH", help="a file that is there while live")
    parser.add_argument(
        "--log-format", choices=["text", "json"], default="text",
        help="how log lines look, where the project's LOGGING does not say it (default: text)",
    )  # fmt: skip


def _run(given: dict[str, Any]) -> int:
    superior = reloading.superior()
    settings = get_settings()
    check_jobs()
    check_keys(settings)
    options = _worker_options(settings, given)
    probes = ProbeOptions(given["probe_port"], given["ready_file"], given["live_file"])
    if superior >= 0:
        return _supervise(settings, options, probes, show=False, superior=superior)
    if os.geteuid() == 0:
        logger.warning("running as root: give the worker a user of its own, with fewer rights")
    with PidFile(given["pid_file"]) if given["pid_file"] else contextlib.nullcontext():
        if _reloads(given):
            open_store(settings)  # keeps an embedded server running from one start to the next
            return reloading.Reloader(options.timeout).run()
        return _supervise(settings, options, probes, show=given["verbosity"] > 0)


def _reloads(given: dict[str, Any]) -> bool:
    if given["reload"] is not None:
        return bool(given["reload"])
    return django_settings.DEBUG and not given["burst"]


def _supervise(
    settings: Settings,
    options: WorkerOptions,
    wanted: ProbeOptions,
    *,
    show: bool,
    superior: int = -1,
) -> int:
    store = open_store(settings)
    progress = Progress(store, options.queues.names) if options.burst and show else None
    probes = Probes(wanted, options.processes, options.lease) if wanted.are_wanted else None
    vitals = probes.vitals if probes else None

    def child_main(identity: str, control: int, report: int) -> int:
        return run_child(open_store(settings), settings, options, identity, control, report, vitals)

    supervisor = Supervisor(
        store,
        options,
        crash_policy(settings),
        child_main,
        progress.update if progress else None,
        probes=probes,
        superior=superior,
    )
    try:
        wait_for_redis(store, settings, supervisor.wait)
        if progress:
            progress.begin()
        return supervisor.run()
    finally:
        if progress:
            progress.end()
        if probes:
            probes.close()


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
    if given["excluded"]:
        queues = queues.without(given["excluded"])
    return WorkerOptions(
        queues=queues,
        concurrency=chosen("concurrency", settings.concurrency),
        processes=chosen("processes", settings.processes),
        async_concurrency=chosen("async_concurrency", settings.async_concurrency),
        timeout=chosen("timeout", settings.shutdown_timeout),
        burst=given["burst"],
        lease=settings.lease,
        ack_each=settings.ack == "each",
        max_jobs=given["max_jobs"],
        max_memory=given["max_memory"],
        remote_signals=settings.remote_signals,
    )


def _set_up_logging(verbosity: int, form: str) -> None:
    """Show our log on stderr where the project has not said where it goes."""
    root = logging.getLogger("django_jobqueue")
    if root.handlers or verbosity == 0:
        return
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else plain)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    root.propagate = False
