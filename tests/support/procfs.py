"""What /proc knows about processes: parents, sessions, and who still lives."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.support.polling import wait_until

#: States of a process that runs no more: zombie, dead.
_GONE = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of ``/proc/PID/stat``, as far as the harness needs it."""

    pid: int
    state: str
    parent: int
    session: int

    @property
    def is_alive(self) -> bool:
        """Tell whether the process still runs (a zombie does not)."""
        return self.state not in _GONE


def stat_of(pid: int) -> ProcessStat | None:
    """Read one process, None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in brackets and may itself hold brackets and blanks.
    state, parent, _group, session, *_ = text.rpartition(")")[2].split()
    return ProcessStat(pid, state, int(parent), int(session))


def is_alive(pid: int) -> bool:
    """Tell whether ``pid`` runs; a zombie that nobody has reaped does not."""
    stat = stat_of(pid)
    return stat is not None and stat.is_alive


def is_stopped(pid: int) -> bool:
    """Tell whether a signal has stopped ``pid``: none of its threads runs on."""
    stat = stat_of(pid)
    return stat is not None and stat.state == "T"


def living() -> list[ProcessStat]:
    """Return every process that runs, oldest pid first."""
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
    stats = (stat_of(pid) for pid in pids)
    return [stat for stat in stats if stat is not None and stat.is_alive]


def children_of(pid: int) -> list[int]:
    """Return the pids of the running children of ``pid``, oldest first."""
    return [stat.pid for stat in living() if stat.parent == pid]


def session_of(leader: int) -> list[int]:
    """
    Return the pids of everything running in the session that ``leader`` started.

    A session holds more than a process group or a tree: grandchildren whose
    parent died, and children that made a group of their own, are in it.
    """
    return [stat.pid for stat in living() if stat.session == leader]


def kill_session(leader: int, timeout: float = 10.0) -> list[int]:
    """
    Kill (signal 9) whatever runs in the session of ``leader``; return whom it hit.

    Repeats until nobody is left, because a process may fork while we look.
    """
    hit: list[int] = []

    def is_empty() -> bool:
        members = session_of(leader)
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            if pid not in hit:
                hit.append(pid)
        return not members

    wait_until(is_empty, timeout, f"the session of process {leader} to die")
    return hit
