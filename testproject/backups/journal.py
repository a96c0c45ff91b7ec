"""A diary of attempts that survives kill -9: only the job knows how often it was begun."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Names the file. Unset, as in a real project: nothing is written.
VARIABLE = "JOBQUEUE_DEMO_JOURNAL"


@contextmanager
def attempt(jid: str, database_id: int) -> Iterator[None]:
    """Write a line when an attempt begins and one when it ends, well or not."""
    with _between("begun", "ended", jid, database_id):
        yield


@contextmanager
def holding(jid: str, database_id: int) -> Iterator[None]:
    """Write a line when an attempt has claimed its database, and one when it is done with it."""
    with _between("taken", "left", jid, database_id):
        yield


@contextmanager
def _between(before: str, after: str, jid: str, database_id: int) -> Iterator[None]:
    name = os.environ.get(VARIABLE)
    if not name:
        yield
        return
    who = f"{jid or '-'} {database_id} {os.getpid()} {os.getpgid(0)}"
    _append(name, f"{before} {who}\n")
    try:
        yield
    finally:
        _append(name, f"{after} {who}\n")


def _append(name: str | Path, line: str) -> None:
    # One write to the end: lines of many processes never mix, and what is written outlives us.
    descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that began and has not ended, and the process and process group it began in."""

    jid: str
    database_id: int
    pid: int
    group: int


@dataclass(slots=True)
class Journal:
    """Read a diary as it grows."""

    path: Path
    #: How often each database's job was begun, and how often an attempt ended.
    begun: Counter[int] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    #: The databases that two jobs worked on at once, in processes that both lived.
    doubled: set[int] = field(default_factory=set)
    _running: Counter[Running] = field(default_factory=Counter)
    _holders: Counter[Running] = field(default_factory=Counter)
    _offset: int = 0

    def note_death(self, group: int, pid: int | None = None) -> None:
        """
        Write down that a process was killed, or all of a group.

        To be called while it can do no more, for what others begin behind this
        line is not begun beside it.
        """
        _append(self.path, f"killed - 0 {pid or 0} {group}\n")

    def read(self) -> None:
        """Take in the lines that were added since the last time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return
        whole, _, _ = text.rpartition(b"\n")
        for line in whole.decode().splitlines():
            verb, jid, database_id, pid, group = line.split()
            self._take(verb, Running(jid, int(database_id), int(pid), int(group)))
        self._offset += len(whole) + (1 if whole else 0)

    def running(self, group: int) -> list[Running]:
        """Return the attempts under way in a process group, as far as the lines tell."""
        return [who for who in (+self._running).elements() if who.group == group]

    def _take(self, verb: str, who: Running) -> None:
        if verb == "begun":
            self.begun[who.database_id] += 1
            self._running[who] += 1
        elif verb == "ended":
            self.ended[who.database_id] += 1
            self._running[who] -= 1
        elif verb == "taken":
            if any(other.jid != who.jid for other in self._holders_of(who.database_id)):
                self.doubled.add(who.database_id)
            self._holders[who] += 1
        elif verb == "left":
            self._holders = self._holders - Counter([who])
        else:
            self._bury(who.group, who.pid)

    def _holders_of(self, database_id: int) -> list[Running]:
        return [who for who in self._holders if who.database_id == database_id]

    def _bury(self, group: int, pid: int) -> None:
        """Forget what a killed process was at; 0 is every process of the group."""
        for found in (self._running, self._holders):
            for who in list(found):
                if who.group == group and pid in (0, who.pid):
                    del found[who]
