"""Database connections around a piece of work: sound when it begins, nothing open when it ends."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error as DatabaseFault
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_jobqueue import clock

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds for which a connection that has answered is trusted. After that it is asked once more
#: before its next use: what a firewall has forgotten, or a server without power, closes no socket.
TRUST = 10.0

#: Who is named in a warning; a function where the name costs something.
Who = str | Callable[[], str]


# Around work ----------------------------------------------------------------------


def in_use() -> bool:
    """
    Return whether this thread may be connected to a database. Takes a tenth of a microsecond.

    While it returns False there is nothing to prepare and nothing to settle.
    """
    return _thread.may_be_connected


def prepare(who: Who) -> None:
    """
    Let a piece of work in this thread begin with connections that can be used.

    Those whose server has closed them, that are broken or past CONN_MAX_AGE are closed,
    and Django opens new ones. A transaction that something before has left open is
    rolled back, with a warning. It runs no query and takes some microseconds for each
    connection; one that has not answered for ten seconds is asked by Django when it is
    used. Raises nothing.
    """
    for connection in _mine():
        _tidy(connection, lambda: f"What ran before {_shown(who)}")
        connection.queries_log.clear()  # with DEBUG it grows: Django clears it for each request


def settle(who: Who) -> None:
    """
    Leave no transaction open in this thread, and keep only connections that may stay.

    What ``who`` has left open is rolled back, with a warning that names it. Pooled
    connections go back to their pool. Raises nothing.
    """
    for connection in _mine():
        _tidy(connection, who)


def close(who: Who) -> None:
    """Settle, and close all connections of this thread: it ends, or works again in weeks."""
    settle(who)
    for connection in _mine():
        _drop(connection)


@contextmanager
def fresh(who: Who, *, keep: bool = True) -> Iterator[None]:
    """
    Prepare before the block, and settle after it; without ``keep`` close the connections.

    For the loops beside the jobs, each around what touches the database in one tick.
    """
    prepare(who)
    try:
        yield
    finally:
        (settle if keep else close)(who)


def mend() -> None:
    """
    Replace what broke in the middle of a piece of work, so that its end can be written down.

    Connections in a transaction stay as they are. Raises nothing.
    """
    for connection in _mine():
        is_gone = _is_gone(connection)
        if not _is_open(connection, is_gone):
            _look_after(connection, is_gone)


def open_transactions() -> set[str]:
    """Return the aliases of the databases on which this thread has begun a transaction."""
    return {
        connection.alias for connection in _mine() if _is_open(connection, _is_gone(connection))
    }


def roll_back(who: Who, but: Collection[str] = ()) -> None:
    """Roll back what ``who`` has left open, on all databases ``but`` these aliases."""
    for connection in _mine():
        if connection.alias not in but and _is_open(connection, _is_gone(connection)):
            _roll_back(connection, who)


# Around a process -----------------------------------------------------------------


def close_for_fork() -> None:
    """Close what a child must not share: this thread's connections, and the pools."""
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None and connection.settings_dict["OPTIONS"].get("pool"):
            # Its threads would not be there in a child, and its sockets would.
            close_pool()


def ready_pools(threads: int) -> None:
    """
    Have the pools of this process test a connection before they lend it.

    CONN_HEALTH_CHECKS decides that in Django, and without it the jobs after a restart of
    the server fail, as many as the pool has connections. Warns of pools that are too
    small for so many threads. Call it before the first connection.
    """
    for alias in connections:
        settings = connections.settings[alias]
        pool = settings["OPTIONS"].get("pool")
        if not pool:
            continue
        settings["CONN_HEALTH_CHECKS"] = True
        if connections[alias].vendor != "postgresql":
            continue
        size = _pool_size({} if pool is True else pool)
        if size < threads:
            logger.warning(
                "the pool of database %r has %d connections for %d threads: jobs will wait for "
                "one, and fail when that takes too long. Raise max_size in OPTIONS['pool'], or "
                "lower --concurrency",
                alias, size, threads,
            )  # fmt: skip


def _pool_size(pool: dict[str, Any]) -> int:
    """Return how many connections a pool of psycopg's has at most, with its defaults."""
    smallest = int(pool.get("min_size", 4))
    largest = pool.get("max_size")
    return smallest if largest is None else int(largest)


# One connection -------------------------------------------------------------------


class _Thread(threading.local):
    #: Whether it may be connected. Asking Django takes longer than many a job, and most jobs
    #: of a thread that has no connection leave it so.
    may_be_connected = True

    def __init__(self) -> None:
        #: When each alias was last known to answer (monotonic).
        self.answered: dict[str, float] = {}


_thread = _Thread()


def _mine() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread: those that are connected, or believe in a block."""
    if not _thread.may_be_connected:
        return []
    found = [
        connection
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None or connection.in_atomic_block
    ]
    _thread.may_be_connected = bool(found)
    return found


def _note_connection(**_: Any) -> None:
    _thread.may_be_connected = True


connection_created.connect(_note_connection, dispatch_uid="django_jobqueue.databases")


def _tidy(connection: BaseDatabaseWrapper, who: Who) -> None:
    is_gone = _is_gone(connection)
    if _is_open(connection, is_gone):
        _roll_back(connection, who)
    else:
        _look_after(connection, is_gone)


def _is_open(connection: BaseDatabaseWrapper, is_gone: bool) -> bool:
    """Return whether a transaction is open that somebody began, by Django or by SQL."""
    # Not get_autocommit(): that would connect.
    if connection.in_atomic_block:
        return True
    if connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        return True
    if is_gone:
        return False
    told = _in_transaction(connection)
    return not connection.autocommit if told is None else told


def _in_transaction(connection: BaseDatabaseWrapper) -> bool | None:
    """Return what the driver knows without asking its server; None where it does not tell."""
    driver = connection.connection
    if connection.vendor == "postgresql":
        return bool(driver.info.transaction_status)  # 0 is idle
    if connection.vendor == "mysql":
        status = getattr(driver, "server_status", None)  # PyMySQL's; mysqlclient hides it
        return None if status is None else bool(status & 1)
    if connection.vendor == "sqlite":
        return bool(driver.in_transaction)
    return None


def _is_gone(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a connection is closed, here or by its server, as far as a look can tell.

    Between two pieces of work a server has nothing to say: what can be read then is its
    good-bye. That costs a system call, where a query costs a round trip.
    """
    if connection.connection is None:
        return True
    try:
        with connection.wrap_database_errors:
            descriptor = _descriptor(connection.connection)
            if descriptor is None:
                _in_transaction(connection)  # a closed SQLite refuses to tell
                return False
    except DatabaseFault:
        return True
    return descriptor < 0 or _is_readable(descriptor)


def _descriptor(driver: Any) -> int | None:
    """Return the socket of a driver's connection: -1 for a closed one, None where it has none."""
    if hasattr(driver, "fileno"):  # psycopg, mysqlclient
        return int(driver.fileno())
    if hasattr(driver, "_sock"):  # PyMySQL has no other way
        return -1 if driver._sock is None else int(driver._sock.fileno())
    return None


def _is_readable(descriptor: int) -> bool:
    # Not select(), which knows no descriptor above 1,023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _look_after(connection: BaseDatabaseWrapper, is_gone: bool) -> None:
    """Close a connection that cannot or may not be used again; have Django ask a silent one."""
    # A SQLite calls itself usable whatever happens, also when its file was replaced.
    if is_gone or (connection.errors_occurred and connection.vendor == "sqlite"):
        _drop(connection)
        return
    now = clock.monotonic()
    if connection.health_check_done:  # type: ignore[attr-defined]  # new, or asked by Django
        _thread.answered[connection.alias] = now
    try:
        connection.close_if_unusable_or_obsolete()
    except DatabaseFault as error:
        _note_bad_end(connection, error)
    asks = connection.settings_dict["CONN_HEALTH_CHECKS"]
    is_silent = now - _thread.answered.get(connection.alias, -TRUST) >= TRUST
    connection.health_check_enabled = asks or is_silent  # type: ignore[attr-defined]


def _roll_back(connection: BaseDatabaseWrapper, who: Who) -> None:
    """End a transaction that somebody began and did not end, and its connection."""
    logger.warning(
        "%s left a transaction open on database %r; it is rolled back",
        _shown(who), connection.alias,
    )  # fmt: skip
    # As if no block had been entered: Django has no call for it.
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.run_on_commit = []
    connection.needs_rollback = False
    connection.closed_in_transaction = False
    try:
        # Closing would do as well, but later: the next job could still meet our locks.
        connection.rollback()
    except DatabaseFault as error:
        _note_bad_end(connection, error)
    _drop(connection)
    if connection.connection is not None:  # a SQLite in memory is never closed
        connection.set_autocommit(connection.settings_dict["AUTOCOMMIT"])


def _drop(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close()
    except DatabaseFault as error:
        _note_bad_end(connection, error)


def _note_bad_end(connection: BaseDatabaseWrapper, error: DatabaseFault) -> None:
    # Nobody can do anything about it, and nothing is lost: the next use connects anew.
    logger.debug("a connection to database %r did not end well: %s", connection.alias, error)


def _shown(who: Who) -> str:
    return who if isinstance(who, str) else who()
