"""
What jobs did, written so that ``kill -9`` takes nothing back.

One ``os.write`` of a whole line to a file opened with ``O_APPEND``: the kernel
has it before the call returns, whatever happens to the process next, and lines
of several processes do not mix.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

Mark = Literal["S", "F"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a job started (``S``) or finished (``F``)."""

    mark: Mark
    jid: str
    ident: str


class Journal:
    """
    A file of ``S jid ident`` and ``F jid ident`` lines.

    Jobs write with ``start`` and ``finish`` (or ``running`` around the work), the
    test reads. ``ident`` is the test's own name of a piece of work: the same
    ident started twice is a duplicate, one that never finished is lost.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._fd: int | None = None
        self._entries: list[Entry] = []  # read so far, up to an offset in bytes
        self._read_to = 0
        self._reading = Lock()  # threads ask too

    def start(self, jid: str, ident: object) -> None:
        """Write that the job began."""
        self._write("S", jid, ident)

    def finish(self, jid: str, ident: object) -> None:
        """Write that the job came to its end."""
        self._write("F", jid, ident)

    @contextmanager
    def running(self, jid: str, ident: object) -> Iterator[None]:
        """Write the start, and the finish unless the block raises."""
        self.start(jid, ident)
        yield
        self.finish(jid, ident)

    def entries(self) -> list[Entry]:
        """Read every whole line; a file that nobody has written to yet is empty."""
        with self._reading:
            fresh, self._read_to = self.entries_from(self._read_to)
            self._entries += fresh  # lines stay as they are: none is read twice
            return self._entries.copy()

    def entries_from(self, offset: int) -> tuple[list[Entry], int]:
        """Read the whole lines behind an offset in bytes; return them and the next offset."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole, end, _torn = data.rpartition(b"\n")
        # Line feeds alone: others would turn the carriage return of an odd ident into an end.
        entries = [_parse(line) for line in whole.decode().split("\n") if line]
        return entries, offset + len(whole) + len(end)

    @property
    def starts(self) -> Counter[str]:
        """How often each ident was started."""
        return Counter(entry.ident for entry in self.entries() if entry.mark == "S")

    @property
    def finishes(self) -> Counter[str]:
        """How often each ident was finished."""
        return Counter(entry.ident for entry in self.entries() if entry.mark == "F")

    def close(self) -> None:
        """Close the file for writing; reading goes on."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, mark: Mark, jid: str, ident: object) -> None:
        line = f"{mark} {jid} {ident}\n"
        if len(line.split()) != 3 or line.count("\n") != 1:
            raise ValueError(f"A journal holds three words a line, this is {line!r}.")
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._fd, line.encode())


def _parse(line: str) -> Entry:
    match line.split():
        case ["S" | "F" as mark, jid, ident]:
            return Entry(mark, jid, ident)
    raise ValueError(f"This is not a line of a journal: {line!r}.")
