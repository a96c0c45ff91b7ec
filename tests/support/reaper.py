"""
Kill what a test run started when the run itself is killed.

Fixtures clean up after themselves, but not after ``kill -9`` of pytest or
``os._exit`` by a timeout. So every session that the harness starts is told to a
small process that reads them from a pipe; when the pipe closes, it kills those
which were not taken back.
"""

from __future__ import annotations

import atexit
import functools
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.support import procfs

_ROOT = Path(__file__).resolve().parents[2]


class Reaper:
    """The pipe to the small process. One per test process, see ``reaper()``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reaper"],
            stdin=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._pipe: IO[bytes] = self._process.stdin

    @property
    def pid(self) -> int:
        """The small process."""
        return self._process.pid

    def watch(self, leader: int) -> None:
        """Have the session of ``leader`` killed when this process ends."""
        self._tell("watch", leader)

    def forget(self, leader: int) -> None:
        """Take a session back: it was ended in good order."""
        self._tell("forget", leader)

    def close(self) -> None:
        """Close the pipe and wait until the small process has done its work."""
        self._pipe.close()
        self._process.wait()

    def _tell(self, verb: str, leader: int) -> None:
        self._pipe.write(f"{verb} {leader}\n".encode())
        self._pipe.flush()


@functools.lru_cache(maxsize=1)
def reaper() -> Reaper:
    """Return the reaper of this process, started at the first call."""
    made = Reaper()
    atexit.register(made.close)
    return made


def reap(lines: IO[str]) -> None:
    """Follow the lines until they end, then kill the sessions still watched."""
    watched: set[int] = set()
    for line in lines:
        verb, leader = line.split()
        if verb == "watch":
            watched.add(int(leader))
        else:
            watched.discard(int(leader))
    for session in watched:
        procfs.kill_session(session)


if __name__ == "__main__":
    # A terminal's Ctrl-C and an impatient CI are meant for pytest; we end with its pipe.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    reap(sys.stdin)
