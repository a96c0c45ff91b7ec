"""What a SQLite file says, apart from how its bytes lie: so that two files can be compared."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

#: Seconds to wait for another writer's lock.
LOCK_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Content:
    """
    The rows of each table by name, and a digest of the schema and of every value.

    Two files of equal content have equal digests, however their pages are laid out.
    """

    rows: dict[str, int]
    digest: str


def connect(path: Path) -> sqlite3.Connection:
    """
    Open a SQLite file that exists.

    Raises:
        sqlite3.OperationalError: there is no such file; none is made.
    """
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=LOCK_TIMEOUT,
        isolation_level=None,
    )


def check_integrity(connection: sqlite3.Connection) -> str:
    """Return ``"ok"``, or the first fault that SQLite found."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return str(verdict)


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    counted = {}
    for table in _tables(connection):
        query = f"SELECT count(*) FROM {_quoted(table)}"  # noqa: S608 - a name takes no parameter
        (counted[table],) = connection.execute(query).fetchone()
    return counted


def read_content(path: Path) -> Content:
    """
    Read a whole SQLite file, in one transaction.

    Raises:
        sqlite3.Error: it is not a database, or it is damaged.
    """
    digest = hashlib.sha256()
    rows: dict[str, int] = {}
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
        for entry in connection.execute(schema):
            digest.update(repr(entry).encode())
        for table in _tables(connection):
            rows[table] = 0
            for row in connection.execute(_everything(connection, table)):
                digest.update(repr(row).encode())
                rows[table] += 1
            digest.update(f"{table}: {rows[table]}".encode())
    return Content(rows, digest.hexdigest())


def _tables(connection: sqlite3.Connection) -> list[str]:
    listing = connection.execute(
        "SELECT name FROM sqlite_schema"
        " WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in listing]


def _everything(connection: sqlite3.Connection, table: str) -> str:
    """Return the query for all rows, in an order that depends on the values alone."""
    columns = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    order = ", ".join(str(number) for number in range(1, len(columns) + 1))
    return f"SELECT * FROM {_quoted(table)} ORDER BY {order}"  # noqa: S608 - as above


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
