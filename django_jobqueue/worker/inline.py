"""Run jobs where they are enqueued: the same serializer, chains and bookkeeping, and no Redis."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from django_jobqueue.client.client import client_chain, encode
from django_jobqueue.client.outlet import Entry
from django_jobqueue.conf import get_settings
from django_jobqueue.payload import Payload
from django_jobqueue.store.claims import BURY, HELD, RETRY, SNOOZE
from django_jobqueue.store.locks import Lock
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.outcome import Outcome


class LocksHere:
    """
    The locks of unique jobs where no Redis keeps them.

    They obey the rules of Redis's (see store/lua), but for the time: none runs out.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._again: dict[str, Entry] = {}

    def take(self, entry: Entry) -> str | None:
        """Take the lock of a job that is pushed; return the jid of the owner if that is another."""
        if entry.lock is None:
            return None
        owner = self._owners.setdefault(entry.lock.digest, entry.lock.jid)
        if owner == entry.lock.jid:
            return None
        if entry.lock.rerun:
            self._again[entry.lock.digest] = entry
        return owner

    def start(self, lock: Lock, release: bool) -> None:
        """Note that a job starts: duplicates that came before are forgotten."""
        if self._owners.get(lock.digest) == lock.jid:
            self._again.pop(lock.digest, None)
            if release:
                del self._owners[lock.digest]

    def end(self, lock: Lock) -> Entry | None:
        """Give the lock of an ended job up; return the duplicate that is to run after it."""
        if self._owners.get(lock.digest, lock.jid) != lock.jid:
            return None
        self._owners.pop(lock.digest, None)
        again = self._again.pop(lock.digest, None)
        if again is not None:
            self.take(again)
        return again


def run_here(
    payload: Payload, lock: Lock | None, locks: LocksHere, goes_on: Container[str] = ()
) -> tuple[Outcome | None, Any, Entry | None]:
    """
    Run a job in this thread as a worker would.

    ``lock`` is what its push has taken; it ends with the run, unless that ends by
    one of the verbs (see store/claims.py) in ``goes_on``. Returns how it ended (None
    is success), what ``perform`` returned, and the duplicate that is to run next.
    """
    executor = Executor(get_settings(), stopping=lambda: False, inline=True, start_lock=locks.start)
    outcome, result = executor.run_payload(payload, payload.queue)
    ended = outcome is None or outcome.verb not in goes_on
    again = locks.end(lock) if ended and lock is not None else None
    return outcome, result, again


class InlineOutlet:
    """
    An outlet that runs each job at once, in the caller's thread, whatever its time.

    A job's failure reaches the caller; Snooze, Skip and Discard are none. What
    Redis would hold afterwards stands in ``retries``, ``scheduled`` (snoozed),
    ``dead`` and ``held`` (stopped by a kill switch). A unique job has its lock
    while it runs.
    """

    for_tests = True

    def __init__(self) -> None:
        self.retries: list[Payload] = []
        self.scheduled: list[Payload] = []
        self.dead: list[Payload] = []
        self.held: list[Payload] = []
        self._locks = LocksHere()

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Run the jobs in order. Raises what they raise; those after it do not run."""
        left_out: dict[int, str] = {}
        for index, entry in enumerate(entries):
            owner = self._locks.take(entry)
            if owner is None:
                self._perform(Payload.decode(entry.raw), entry.lock)
            else:
                left_out[index] = owner
        return left_out

    def run(self, payload: Payload) -> Any:
        """
        Take a payload through the client chain and run it; return what ``perform`` returns.

        None when a client middleware refused. Raises what the job raises.
        """
        accepted = client_chain()(payload)
        if accepted is None:
            return None
        return self.perform(encode(accepted, get_settings().max_payload))

    def perform(self, raw: bytes) -> Any:
        """Run the job in these bytes as a worker would. Raises what the job raises."""
        return self._perform(Payload.decode(raw), None)

    def _perform(self, payload: Payload, lock: Lock | None) -> Any:
        outcome, result, again = run_here(payload, lock, self._locks)
        if outcome is not None:
            self._keep(outcome)
            if outcome.error is not None:
                raise outcome.error
        if again is not None:
            self._perform(Payload.decode(again.raw), again.lock)
        return result

    def _keep(self, outcome: Outcome) -> None:
        boxes = {
            RETRY: self.retries, SNOOZE: self.scheduled, BURY: self.dead, HELD: self.held,
        }  # fmt: skip
        box = boxes.get(outcome.verb)
        if box is not None:
            box.append(Payload.decode(outcome.raw))
