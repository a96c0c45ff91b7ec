"""The worker processes of a peer while it is measured: CPU and memory are asked of them alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import machine
from benchmarks.processes import ROOT, TIMEOUT
from tests.support import procfs

#: Seconds between two looks at whether they rest, and the CPU seconds that a resting fleet may
#: use meanwhile.
LOOK = 0.25
REST = 0.05 * LOOK

#: Looks in a row at which they must rest, and seconds after which they are taken as they are.
LOOKS = 3
RESTLESS = 15.0

#: Clock ticks a second in /proc/PID/stat.
_TICKS = os.sysconf("SC_CLK_TCK")

#: Bytes of what they said that an error shows.
_TAIL = 1000


class Fleet:
    """
    Commands that run side by side, each the leader of a session. A context manager.

    At the end they are asked to stop (SIGTERM), and what does not is killed.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: dict[str, str]) -> None:
        self._commands = commands
        self._environment = environment
        self._leaders: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._log = Path(self._environment["BENCHMARK_BOARD"]).with_name("log")
        with self._log.open("ab") as log:
            for command in self._commands:
                leader = subprocess.Popen(  # noqa: S603, a peer's worker
                    command,
                    cwd=ROOT,
                    env={**os.environ, **self._environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                self._leaders.append(leader)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            for leader in self._leaders:
                leader.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + TIMEOUT
            for leader in self._leaders:
                with contextlib.suppress(subprocess.TimeoutExpired):  # it is killed below
                    leader.wait(max(0.0, deadline - time.monotonic()))
        elif isinstance(error, Exception):
            error.add_note(f"What the worker said at last: {self._said()}")
        for leader in self._leaders:
            procfs.kill_session(leader.pid)
            leader.wait()

    def poll(self) -> int | None:
        """Return the exit code of one that has ended, None while all run."""
        codes = [leader.poll() for leader in self._leaders]
        return next((code for code in codes if code is not None), None)

    def members(self) -> list[int]:
        """Return the pids of all their processes."""
        sessions = {leader.pid for leader in self._leaders}
        return [stat.pid for stat in procfs.living() if stat.session in sessions]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that they have used, with the children that they waited for."""
        return sum(map(_used, self.members()))

    def memory(self) -> float:
        """Return the proportional set of all of them together, in MB."""
        return sum(machine.memory(pid)["PSS"] for pid in self.members())

    def rest(self) -> None:
        """Wait until they are up and have nothing to do: until they use next to no CPU."""
        deadline = time.monotonic() + RESTLESS
        resting, before = 0, self.cpu_seconds()
        while resting < LOOKS and time.monotonic() < deadline:
            time.sleep(LOOK)
            now = self.cpu_seconds()
            resting = resting + 1 if now - before < REST else 0
            before = now

    def _said(self) -> str:
        return self._log.read_bytes()[-_TAIL:].decode(errors="replace").strip() or "nothing"


def _used(pid: int) -> float:
    """Return the CPU seconds of one process; 0.0 when it has just ended: its parent has them."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        own = machine.cpu_seconds([pid])
    except OSError:
        return 0.0
    # Of the fields behind the command: those of the children that it waited for.
    children = text.rpartition(")")[2].split()[13:15]
    return own + sum(map(int, children)) / _TICKS
