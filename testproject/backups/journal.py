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
    name = os.environ.get(VARIABLE)
    if not name:
        yield
        return
    who = f"{jid or '-'} {database_id} {os.getpid()} {os.getpgid(0)}"
    _append(name, f"begun {who}\n")
    try:
        yield
    finally:
        _append(name, f"ended {who}\n")


def _append(name: str, line: str) -> None:
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
    _running: Counter[Running] = field(default_factory=Counter)
    _offset: int = 0

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
            who = Running(jid, int(database_id), int(pid), int(group))
            if verb == "begun":
                self.begun[who.database_id] += 1
                self._running[who] += 1
            else:
                self.ended[who.database_id] += 1
                self._running[who] -= 1
        self._offset += len(whole) + (1 if whole else 0)

    def running(self, group: int) -> list[Running]:
        """Return the attempts under way in a process group, as far as the lines tell."""
        return [who for who in (+self._running).elements() if who.group == group]
