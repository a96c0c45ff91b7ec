"""The processes that a benchmark starts, each in a session of its own, and never left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine

#: The root of the project, from where everything can be imported.
ROOT = Path(__file__).resolve().parents[1]

#: Seconds that a process has to come up, and to stop.
TIMEOUT = 30.0

#: What a plain Python shows when it is ready.
PROMPT = b">>> "


@contextlib.contextmanager
def worker(*flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``runjobs`` with these flags; at the end it stops in order, or we hear of it."""
    with _started("django", "runjobs", *flags) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        code = process.wait(TIMEOUT)
        if code:
            raise RuntimeError(f"the worker ended with exit code {code}")


@contextlib.contextmanager
def rival(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of ``benchmarks.rivals``; at the end it is killed."""
    with _started("benchmarks.rivals", name, *arguments) as process:
        yield process


@contextlib.contextmanager
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """Run ``manage.py shell`` on a terminal and wait for its prompt."""
    ours, theirs = pty.openpty()
    try:
        with _started("django", "shell", "-i", "python", terminal=theirs) as process:
            _read_until(ours, PROMPT)
            yield process
    finally:
        os.close(ours)
        os.close(theirs)


def family(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the pids of a process and its children."""
    return [process.pid, *machine.children(process.pid)]


def wait_for_children(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """Wait until a process has so many children and return their pids."""
    deadline = time.monotonic() + TIMEOUT
    while len(found := machine.children(process.pid)) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} has not started {count} children")
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def _started(
    module: str, *arguments: str, terminal: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603, our own modules
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=None if terminal is None else terminal,
        stderr=None if terminal is None else terminal,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_until(descriptor: int, text: bytes) -> None:
    said = b""
    deadline = time.monotonic() + TIMEOUT
    while text not in said:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RuntimeError(f"waited in vain for {text!r} after {said!r}")
        said += os.read(descriptor, 4096)
