"""
Changes of flags in a transaction: seen by the thread that made them, by others on commit.

The pending hooks of the transaction are the only record of them. What is rolled
back, a savepoint too, is forgotten by Django itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue.switches.state import State


class _Here(threading.local):
    #: Whether this thread may have changes that are not committed.
    changed = False


here = _Here()


class _Fate:
    """What the changes of one transaction share: after a commit they are published once."""

    published = False


class _Change:
    """One flag that was saved or deleted, as the commit hook of its transaction."""

    def __init__(
        self, flag: str, state: State, alias: str, fate: _Fate, publish: Callable[[], None]
    ) -> None:
        self.flag = flag
        self.state = state
        self.fate = fate
        self._alias = alias
        self._publish = publish

    def commit(self) -> None:
        # Run inside a transaction, as captureOnCommitCallbacks() does, nothing is committed.
        if self.fate.published or connections[self._alias].in_atomic_block:
            return
        self.fate.published = True
        self._publish()


def record(flag: str, state: State, alias: str, publish: Callable[[], None]) -> None:
    """
    Let this thread see a flag's new state, and call ``publish`` when it is committed.

    ``alias`` is the database that the flag was saved in. Outside a transaction
    ``publish`` is called at once.
    """
    here.changed = True
    fate = next((change.fate for change in _changes(connections[alias])), None)
    change = _Change(flag, state, alias, fate or _Fate(), publish)
    transaction.on_commit(change.commit, using=alias)


def states() -> dict[str, State]:
    """Return the flags that this thread has changed and not committed, as they are now."""
    found = {
        change.flag: change.state
        for connection in connections.all(initialized_only=True)
        for change in _changes(connection)
    }
    here.changed = bool(found)
    return found


def _changes(connection: BaseDatabaseWrapper) -> Iterator[_Change]:
    for hook in connection.run_on_commit:
        owner = getattr(hook[1], "__self__", None)
        if isinstance(owner, _Change):
            yield owner
