"""What the jobs' journal says, read once: a long experiment asks it thousands of times."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from django_jobqueue.payload import Payload
from tests.support.journal import Journal


class Ledger:
    """
    How often each job has started and finished, as far as the last ``read`` came.

    Jobs go by their ``"ident"``, the experiment's own name of a piece of work, or by
    their ``"jid"`` where the same work may be asked for again and again.
    """

    def __init__(self, journal: Journal, by: Literal["ident", "jid"] = "ident") -> None:
        self.starts: Counter[str] = Counter()
        self.finishes: Counter[str] = Counter()
        self._journal = journal
        self._by = by
        self._offset = 0
        self._lock = threading.Lock()

    def read(self) -> None:
        """Take in what was written since the last time. May be called from any thread."""
        with self._lock:
            entries, self._offset = self._journal.entries_from(self._offset)
            for entry in entries:
                counted = self.starts if entry.mark == "S" else self.finishes
                counted[entry.jid if self._by == "jid" else entry.ident] += 1

    def name_of(self, raw: bytes) -> str:
        """Return what a job goes by, out of its payload; its first argument is its ident."""
        payload = Payload.decode(raw)
        return payload.jid if self._by == "jid" else str(payload.args[0])

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of these jobs that have not finished."""
        return [name for name in names if name not in self.finishes]

    def running(self) -> int:
        """Return how many starts have no finish: what runs, and what died while it ran."""
        return self.starts.total() - self.finishes.total()

    def double_starts(self) -> Counter[str]:
        """Return the jobs that started more than once, and how often more."""
        return self.starts - Counter(self.starts.keys())

    def double_finishes(self) -> Counter[str]:
        """Return the jobs that finished more than once, and how often more."""
        return self.finishes - Counter(self.finishes.keys())
