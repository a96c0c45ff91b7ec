"""
Jobs that tell what happened to them, and jobs that do harm.

Each takes an ``ident`` first, the test's own name of the piece of work, and writes
to the journal when it starts and, if it gets there, when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from django.db import DatabaseError, connection, transaction

from django_jobqueue import Job, Snooze
from tests.support.journal import Journal

#: Names the file of the journal.
JOURNAL_VARIABLE = "JOBQUEUE_TEST_JOURNAL"


def journal() -> Journal:
    """Return the journal that the environment names, one per file and process."""
    return _journal(os.environ[JOURNAL_VARIABLE])


@functools.lru_cache(maxsize=8)
def _journal(path: str) -> Journal:
    return Journal(path)


class NoopJob(Job):
    """Do nothing but write that it was done."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            pass


class SleepJob(Job):
    """Take ``seconds``."""

    def perform(self, ident: str, seconds: float) -> None:
        with journal().running(self.jid, ident):
            time.sleep(seconds)


class WaitJob(Job):
    """Run until the test creates the file ``path``: long, and as short as the test wants."""

    def perform(self, ident: str, path: str) -> None:
        with journal().running(self.jid, ident):
            while not os.path.exists(path):
                time.sleep(0.01)


class SnoozeJob(Job):
    """Ask to be run again in ``seconds``, each time."""

    def perform(self, ident: str, seconds: float) -> None:
        with journal().running(self.jid, ident):
            raise Snooze(seconds)


# Failures ------------------------------------------------------------------


class GrievingJob(Job):
    """Fail, and have the hook of the last failure wait until the test creates the file ``path``."""

    def perform(self, ident: str, path: str) -> None:
        with journal().running(self.jid, ident):
            raise ValueError("this job fails by design")

    def on_exhausted(self, error: BaseException) -> None:
        """Write that it has begun, and wait."""
        ident, path = self.payload.args
        with journal().running(self.jid, f"mourning-{ident}"):
            while not os.path.exists(path):
                time.sleep(0.01)


class UserAbort(BaseException):
    """An exception outside of ``Exception``, such as a library may raise."""


class FailJob(Job):
    """Raise what ``kind`` names, see ``FAILURES``."""

    def perform(self, ident: str, kind: str) -> None:
        with journal().running(self.jid, ident):
            FAILURES[kind]()


def _raiser(kind: type[BaseException], *facts: object) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise kind(*facts)

    return raise_it


def _recurse() -> None:
    _recurse()


#: What FailJob can do.
FAILURES: dict[str, Callable[[], None]] = {
    "ValueError": _raiser(ValueError, "this job fails by design"),
    "SystemExit": _raiser(SystemExit, 3),
    "KeyboardInterrupt": _raiser(KeyboardInterrupt),
    "GeneratorExit": _raiser(GeneratorExit),
    "MemoryError": _raiser(MemoryError),
    "RecursionError": _recurse,
    "UserAbort": _raiser(UserAbort, "outside of Exception"),
}


# Deaths --------------------------------------------------------------------


class SegfaultJob(Job):
    """Read where nothing is: the process dies by SIGSEGV."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            ctypes.string_at(0)


class ExitJob(Job):
    """Leave the process at once with ``code``, past every handler; 0 is no clean stop either."""

    def perform(self, ident: str, code: int = 0) -> None:
        with journal().running(self.jid, ident):
            os._exit(code)


# Hogs ----------------------------------------------------------------------


class SpinJob(Job):
    """Never end, in Python code: threads still get their turn."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            while True:
                pass


class LeakJob(Job):
    """Keep so many megabytes for as long as the process lives."""

    def perform(self, ident: str, megabytes: int) -> None:
        with journal().running(self.jid, ident):
            LEAKED.append(b"x" * (megabytes * 1024 * 1024))


#: What LeakJob keeps.
LEAKED: list[bytes] = []


class LitterJob(Job):
    """Leave ``count`` threads that never end, and as many open files, to the process."""

    def perform(self, ident: str, count: int) -> None:
        with journal().running(self.jid, ident):
            for _ in range(count):
                threading.Thread(target=threading.Event().wait, daemon=True).start()
                os.open(os.devnull, os.O_RDONLY)


class GilJob(Job):
    """Sleep ``seconds`` (whole) in C and hold the GIL: no other thread gets a turn."""

    def perform(self, ident: str, seconds: int) -> None:
        with journal().running(self.jid, ident):
            ctypes.PyDLL(None).sleep(seconds)


class SubprocessJob(Job):
    """Have the work done by another process: a command, or a pool of ``multiprocessing``."""

    def perform(self, ident: str, how: str = "command") -> None:
        with journal().running(self.jid, ident):
            if how == "pool":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    assert pool.map(abs, [-1, -2]) == [1, 2]
            else:
                subprocess.run([sys.executable, "-c", "pass"], check=True)


class ForkJob(Job):
    """Fork, and end the fork by SIGTERM, as ``multiprocessing`` ends the processes of a pool."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
                os._exit(0)
            os.kill(pid, signal.SIGTERM)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


# The database --------------------------------------------------------------


class TransactionLeakJob(Job):
    """Open a transaction, write in it, and leave it open."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS leaked (ident text)")
            transaction.atomic().__enter__()
            cursor.execute("INSERT INTO leaked VALUES (%s)", [ident])


class BreakConnectionJob(Job):
    """Close the driver's connection behind Django's back: its next query fails."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            connection.ensure_connection()
            connection.connection.close()


class BrokenTransactionJob(Job):
    """Have the database refuse something in a transaction, swallow that, and go on in it."""

    def perform(self, ident: str) -> None:
        with (
            journal().running(self.jid, ident),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            with contextlib.suppress(DatabaseError):
                cursor.execute("SELECT nothing FROM nowhere")
            raise ZeroDivisionError


class QueryWaitJob(Job):
    """Ask the database, and keep the thread until the test creates the file ``path``."""

    def perform(self, ident: str, path: str) -> None:
        with journal().running(self.jid, ident), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            while not os.path.exists(path):
                time.sleep(0.01)


class QueryJob(Job):
    """Write a row: works only where the thread's connection is sound and nobody holds the lock."""

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS written (ident text)")
            cursor.execute("INSERT INTO written VALUES (%s)", [ident])
