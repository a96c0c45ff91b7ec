"""Hold pushes until the transaction around them commits, and send them together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue.client.outlet import Entry, outlet
from django_jobqueue.client.send import send
from django_jobqueue.client.tested import is_in_a_test, is_only_in_a_test, when_left
from django_jobqueue.conf import KILL_SWITCH_MIDDLEWARE, get_settings
from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.signals import job_refused, tell
from django_jobqueue.switches.switches import switches

logger = logging.getLogger("django_jobqueue.client")


class _Batch:
    """The pushes of one transaction that share a fate: the same savepoints are around them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def send(self) -> None:
        entries, self.entries = _still_wanted(self.entries), []
        try:
            send(entries)
        except JobQueueError as error:
            if get_settings().on_commit_errors == "raise":
                raise
            logger.error(
                "The transaction stands, and %d job(s) of it were not enqueued: %s. First jid %s.",
                len(entries), error, entries[0].payload.jid,
            )  # fmt: skip


def _still_wanted(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries without those whose kill switch was thrown since the call."""
    if KILL_SWITCH_MIDDLEWARE not in get_settings().client_middleware:
        return list(entries)
    with switches().pinned():
        stopped = [entry for entry in entries if switches().refuses(entry.payload)]
    if not stopped:
        return list(entries)
    switches().count_refused(Counter(entry.payload.job_class for entry in stopped))
    for entry in stopped:
        tell(job_refused, None, payload=entry.payload)
    return [entry for entry in entries if entry not in stopped]


def hold_until_commit(entries: Sequence[Entry], alias: str) -> bool:
    """
    Keep entries until the transaction on ``alias`` commits.

    Returns False, and keeps nothing, outside a transaction. All pushes of a
    transaction go out in one round trip; those under a savepoint of their own
    in one of theirs, so that a rolled-back savepoint takes just its own along.
    The transactions of a test case are none for an outlet of tests.
    """
    connection = transaction.get_connection(alias)
    if not connection.in_atomic_block:
        return False
    tested = is_in_a_test(connection) and getattr(outlet(), "for_tests", False)
    if tested and is_only_in_a_test(connection):
        return False
    batch = _open_batch(connection)
    if batch is None:
        batch = _Batch()
        if tested:
            when_left(connection, batch.send)
    batch.entries.extend(entries)
    # A hook for every push, though the first one sends them all: what captures
    # hooks, as captureOnCommitCallbacks() does, sees only those made since then.
    transaction.on_commit(batch.send, using=alias)
    return True


def waiting() -> dict[str, list[Entry]]:
    """Return the pushes of this thread that wait for a commit, by the alias of their database."""
    found = {}
    for connection in connections.all(initialized_only=True):
        owners = [getattr(hook[1], "__self__", None) for hook in connection.run_on_commit]
        batches = [owner for owner in dict.fromkeys(owners) if isinstance(owner, _Batch)]
        entries = [entry for batch in batches for entry in batch.entries]
        if entries:
            found[connection.alias] = entries
    return found


def _open_batch(connection: BaseDatabaseWrapper) -> _Batch | None:
    """Return the batch that was begun under the present savepoints."""
    savepoints = set(connection.savepoint_ids)
    for hook in reversed(connection.run_on_commit):
        owner = getattr(hook[1], "__self__", None)
        if isinstance(owner, _Batch) and hook[0] == savepoints:
            return owner
    return None
