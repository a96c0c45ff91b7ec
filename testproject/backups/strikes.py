"""``kill -9`` in the middle of jobs, and not a moment before or after."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from testproject.backups.fleet import Worker
from testproject.backups.journal import Journal, Running

#: Seconds that a signal may need to reach every processor.
REACH = 0.05


def strike_child(
    workers: Sequence[Worker], journal: Journal
) -> tuple[Worker, list[Running]] | None:
    """
    Kill the child process that runs most jobs, if it is caught in the middle of them.

    Returns its worker and the jobs that it ran, None when nobody was caught.
    """
    busy = Counter(
        (worker, who.pid)
        for worker in workers
        for who in journal.running(worker.group)
        if who.pid != worker.group
    )
    if not busy:
        return None
    ((worker, pid), _) = busy.most_common(1)[0]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        caught = [who for who in _running(worker, journal) if who.pid == pid]
        if caught:
            journal.note_death(worker.group, pid)
        os.kill(pid, signal.SIGKILL if caught else signal.SIGCONT)
        return (worker, caught) if caught else None
    return None


def strike_group(
    workers: Sequence[Worker], journal: Journal
) -> tuple[Worker, list[Running]] | None:
    """Kill the worker that runs most jobs, supervisor and children; returns as above."""
    worker = max(workers, key=lambda one: len(journal.running(one.group)))
    if not journal.running(worker.group):
        return None
    worker.freeze()
    caught = _running(worker, journal)
    if not caught:
        worker.thaw()
        return None
    journal.note_death(worker.group)
    worker.kill()
    return worker, caught


def _running(worker: Worker, journal: Journal) -> list[Running]:
    """Return what a worker is running that was just frozen, all of it or in part."""
    time.sleep(REACH)
    journal.read()
    return journal.running(worker.group)
