"""The databases that a benchmark makes: a small one that workers read, a real one for many rows."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import connection, connections

from benchmarks.processes import ROOT
from tests.support.sql_server import NotInstalled, PostgreSQL

#: What names the default database to the settings: its entry in DATABASES, as JSON.
VARIABLE = "BENCHMARK_DATABASE"


@contextlib.contextmanager
def sqlite_file() -> Iterator[None]:
    """Name a new SQLite file to the settings of this process and of those that it starts."""
    with TemporaryDirectory(prefix="jqbench") as directory:
        name = str(Path(directory, "db.sqlite3"))
        os.environ[VARIABLE] = json.dumps({"ENGINE": "django.db.backends.sqlite3", "NAME": name})
        yield


def migrate() -> None:
    """
    Make the tables, and a flag for every job, as the workers of a project have them.

    In another process: migrations leave much behind for the garbage collector.
    """
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603, Django's own


@contextlib.contextmanager
def real_database() -> Iterator[str]:
    """
    Let this process work on a PostgreSQL of its own for a while, with all tables.

    Yields what it is, for people: the SQLite file where no PostgreSQL or psycopg is installed.
    """
    try:
        import psycopg  # noqa: F401, only the extra "databases" brings it

        server = PostgreSQL()
    except (ImportError, NotInstalled) as error:
        yield f"SQLite instead of PostgreSQL ({error})"
        return
    settings = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "HOST": str(server.host),
        "USER": server.user,
    }
    with server, _instead(settings):
        migrate()
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            yield f"PostgreSQL {cursor.fetchone()[0]}"


@contextlib.contextmanager
def _instead(settings: dict[str, Any]) -> Iterator[None]:
    """Put another database in the place of the default one."""
    variable, databases = os.environ[VARIABLE], connections.settings
    os.environ[VARIABLE] = json.dumps(settings)
    _use(connections.configure_settings({"default": settings}))
    try:
        yield
    finally:
        os.environ[VARIABLE] = variable
        _use(databases)


def _use(databases: dict[str, Any]) -> None:
    connections.close_all()
    with contextlib.suppress(AttributeError):  # it was not used yet
        del connections["default"]
    connections.settings = databases
