"""Worker processes that a demonstration starts, hits with signals, and never leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

#: Lines of a log that are shown when its worker ended by itself.
TAIL = 15


class WorkerEnded(Exception):
    """A worker that should be running is not. ``code`` is its exit code, negative for a signal."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        super().__init__(name, code, log)
        self.name = name
        self.code = code
        self.log = log

    def __str__(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
        return f"{self.name} ended with {self.code}; the end of {self.log}:\n" + "\n".join(lines)


class Worker:
    """One ``manage.py runjobs``: a supervisor and its children, a process group of their own."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        #: Killed by us, so that its end is no surprise.
        self.killed = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(settings.BASE_DIR / "manage.py"),
                    "runjobs",
                    "--no-reload",
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def group(self) -> int:
        """The process group: its id is the supervisor's pid."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The supervisor's exit code, None while it runs."""
        return self._process.poll()

    def freeze(self) -> None:
        """Stop every process of the group where it stands."""
        self._hit(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen group go on."""
        self._hit(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the supervisor and its children at once, and collect the supervisor."""
        self.killed = True
        self._hit(signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Ask the supervisor to stop in an orderly manner."""
        if self.code is None:
            self._process.terminate()

    def wait(self, timeout: float) -> int | None:
        """Wait up to ``timeout`` seconds and return the exit code; None when it still runs."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def _hit(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.group, number)


class Fleet:
    """All workers of a demonstration. As a context manager it kills at the end whatever is left."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._folder = folder
        self._arguments = arguments
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            # Also where the supervisor has ended: it may have left children.
            worker.kill()

    def start(self) -> Worker:
        """Start one more worker. Its output goes to a file of its own."""
        worker = Worker(f"runjobs-{len(self.workers) + 1}", self._folder, *self._arguments)
        self.workers.append(worker)
        return worker

    def check(self) -> None:
        """Raise WorkerEnded when a worker ended that nobody killed."""
        for worker in self.workers:
            if worker.code is not None and not worker.killed:
                raise WorkerEnded(worker.name, worker.code, worker.log)

    def stop(self, timeout: float) -> dict[str, int | None]:
        """Ask all to stop and return their exit codes by name; None for one that did not stop."""
        alive = [worker for worker in self.workers if not worker.killed]
        for worker in alive:
            worker.terminate()
        return {worker.name: worker.wait(timeout) for worker in alive}
