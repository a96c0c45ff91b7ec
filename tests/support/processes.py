"""
Worker processes under test: started, watched, hurt, and never left behind.

A process is started as the leader of a session of its own, so that whatever it
forks can be found again, whoever its parent is by then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import procfs
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.reaper import reaper

#: The root of the project: where manage.py stands.
ROOT = Path(__file__).resolve().parents[2]

#: Seconds a test waits for a line or an exit, unless it says otherwise.
TIMEOUT = 30.0


class Process:
    """
    A command as the leader of a session, with its output in a file.

    Use it as a context manager or call ``close``: at the end the whole session is
    killed, however the test ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.command = list(command)
        self.log_path = log_path
        self._is_closed = False
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        reaper().watch(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that was started: its session's leader."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Tell whether that process lives."""
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """Return everything written to the standard output and error so far."""
        return self.log_path.read_text(errors="replace")

    def children(self) -> list[int]:
        """Return the pids of the process's own running children, oldest first."""
        return procfs.children_of(self.pid)

    def members(self) -> list[int]:
        """Return the pids of everything that runs in the session, the process included."""
        return procfs.session_of(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        self._popen.send_signal(number)

    def term(self) -> None:
        """Ask the process to stop (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def signal_child(self, number: int, index: int = 0) -> int:
        """Send a signal to a child, the oldest by default; return its pid."""
        children = self.children()
        if len(children) <= index:
            raise AssertionError(
                f"There is no child {index} to hit, only {children}.{self._tail()}"
            )
        os.kill(children[index], number)
        return children[index]

    def kill9_child(self, index: int = 0) -> int:
        """Kill a child, the oldest by default, and wait until it is gone; return its pid."""
        pid = self.signal_child(signal.SIGKILL, index)
        wait_until(lambda: not procfs.is_alive(pid), TIMEOUT, f"child {pid} to die")
        return pid

    def kill9_group(self) -> list[int]:
        """Kill the process and all its offspring at once; return the pids that were hit."""
        hit = procfs.kill_session(self.pid)
        self._popen.wait()
        return hit

    def wait(self, timeout: float = TIMEOUT) -> int:
        """
        Wait for the process to exit and return its code, negative for a signal.

        Raises:
            AssertionError: it still runs after ``timeout`` seconds.

        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self._name} still runs after {timeout:g} s.{self._tail()}"
            ) from None

    def wait_for_line(self, text: str, timeout: float = TIMEOUT) -> str:
        """
        Wait until a line of the output contains ``text``, and return that line.

        Raises:
            AssertionError: the process ended or the time passed without it.

        """

        def found_or_ended() -> tuple[bool, str | None] | None:
            is_over = not self.is_running  # asked first: the last words come before the end
            line = next((line for line in self.output().splitlines() if text in line), None)
            return (is_over, line) if line is not None or is_over else None

        _, line = wait_until(
            found_or_ended, timeout, lambda: f"{self._name} to say {text!r}.{self._tail()}"
        )
        if line is None:
            raise AssertionError(
                f"{self._name} ended with {self.returncode} and never said {text!r}.{self._tail()}"
            )
        return line

    def close(self) -> None:
        """Kill whatever is left of the session. Idempotent."""
        if self._is_closed:
            return
        self.kill9_group()
        reaper().forget(self.pid)
        self._is_closed = True  # from here on the pid may be somebody else's

    @property
    def _name(self) -> str:
        return " ".join(Path(word).name if "/" in word else word for word in self.command)

    def _tail(self, lines: int = 30) -> str:
        end = "\n".join(self.output().splitlines()[-lines:])
        return f"\n--- end of its output\n{end or '(nothing)'}"


class RunJobs(Process):
    """
    ``manage.py runjobs`` of the site ``tests.jobsite``, or of other settings.

    ``url`` and ``prefix`` say where it works, ``overrides`` are keys of JOBQUEUE
    (JSON: durations in seconds), ``arguments`` go to the command line. Its jobs
    write to ``journal``. The database is a file next to the output.
    """

    def __init__(
        self,
        *arguments: str,
        url: str,
        prefix: str,
        directory: Path,
        journal: Journal | None = None,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        settings: str = "tests.jobsite.settings",
    ) -> None:
        self.journal = journal or Journal(directory / "journal")
        super().__init__(
            [sys.executable, "manage.py", "runjobs", *arguments],
            log_path=_fresh(directory, "runjobs"),
            env={
                "DJANGO_SETTINGS_MODULE": settings,
                "JOBQUEUE_TEST_URL": url,
                "JOBQUEUE_TEST_PREFIX": prefix,
                "JOBQUEUE_TEST_JSON": json.dumps(dict(overrides or {})),
                "JOBQUEUE_TEST_JOURNAL": str(self.journal.path),
                "JOBQUEUE_TEST_DATABASE": str(directory / "jobsite.sqlite3"),
                **(env or {}),
            },
        )


def _fresh(directory: Path, stem: str) -> Path:
    """Return the path of a log that does not exist yet: a test may start several workers."""
    number = sum(1 for _ in directory.glob(f"{stem}-*.log"))
    return directory / f"{stem}-{number}.log"
