"""The transactions that Django's test cases put around a test: no push waits for their commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, Error
from django.db.backends.base.base import BaseDatabaseWrapper


def is_in_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the outermost transaction is one that a test case has begun."""
    return bool(connection.atomic_blocks) and _is_a_tests(connection.atomic_blocks[0])


def is_only_in_a_test(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether the code under test has begun no transaction of its own, or has left it.

    A block without a savepoint counts as none, as the one that Django deletes rows in and
    sends its signals from: it goes only with the test's, and nobody sees it end.
    """
    # From the innermost block on: the outermost is the transaction itself and has none.
    savepoints, blocks = reversed(connection.savepoint_ids), reversed(connection.atomic_blocks)
    return all(
        not savepoint or _is_a_tests(block)
        for savepoint, block in zip(savepoints, blocks, strict=False)
    )


def when_left(connection: BaseDatabaseWrapper, hook: Callable[[], None]) -> None:
    """
    Call a hook of ``on_commit`` once the code under test has left its own transactions.

    That is when it would be called if there were no test around. It is not where
    one of them was rolled back. Raises, out of that transaction's end, what the
    hook raises.
    """
    # The first one: execute_wrapper() takes the last one away when it ends.
    connection.execute_wrappers.insert(0, _Watch(connection, hook))


class _Watch:
    """Sees the savepoints of a connection go: inside a test, transactions are savepoints."""

    def __init__(self, connection: BaseDatabaseWrapper, hook: Callable[[], None]) -> None:
        self._connection = connection
        self._hook = hook

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        if str(sql).startswith("RELEASE SAVEPOINT") and is_only_in_a_test(self._connection):
            self._connection.execute_wrappers.remove(self)
            if any(hook[1] == self._hook for hook in self._connection.run_on_commit):
                try:
                    self._hook()
                except DatabaseError:
                    # For Django the release has failed, and it rolls back to the savepoint.
                    # Were there none, the rest of the test would be a broken transaction.
                    with contextlib.suppress(Error):
                        execute(str(sql).removeprefix("RELEASE "), params, many, context)
                    raise
        return result


def _is_a_tests(block: Any) -> bool:
    # What Django itself goes by where it looks for durable blocks.
    return bool(getattr(block, "_from_testcase", False))
