"""
Which database the tests run on: SQLite, unless the environment names a server.

``JOBQUEUE_TEST_DATABASE_ENGINE`` is ``sqlite``, ``postgresql`` or ``mariadb``. Where the
server is, stands in ``JOBQUEUE_TEST_DATABASE_HOST`` (a name, or the path of a unix socket),
``_PORT``, ``_USER`` and ``_PASSWORD``. ``python -m tests.support.sql_server`` sets them all
for a command, and starts the server; ``_SERVER`` is what it calls that. Settings of Django's
for the database can be added as JSON: ``JOBQUEUE_TEST_DATABASE_MORE='{"CONN_MAX_AGE": null}'``.

Settings import this module, so it imports nothing of Django's.
"""

from __future__ import annotations

import json
import os
from typing import Any

#: What all variables begin with.
VARIABLE = "JOBQUEUE_TEST_DATABASE_"

#: The servers that tests can run on, and Django's name for what talks to each.
ENGINES = {"postgresql": "django.db.backends.postgresql", "mariadb": "django.db.backends.mysql"}

#: Seconds that a writer waits for another one's lock.
LOCK_TIMEOUT = 30


def sqlite(name: str) -> dict[str, Any]:
    """Return Django's settings of a SQLite file, or of ``:memory:``."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "OPTIONS": {
            "timeout": LOCK_TIMEOUT,
            # See the test project's settings. A test's file need not survive the machine.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;",
        },
    }


def server(name: str) -> dict[str, Any]:
    """
    Return Django's settings of a database on the server that the environment names.

    Raises: ValueError when it names none.
    """
    engine = engine_name()
    if engine not in ENGINES:
        raise ValueError(
            f"{VARIABLE}ENGINE is {engine!r}, and no server: use one of {', '.join(ENGINES)}."
        )
    if engine == "mariadb":
        _let_pymysql_serve_django()
    settings: dict[str, Any] = {"ENGINE": ENGINES[engine], "NAME": name}
    for key in ("HOST", "PORT", "USER", "PASSWORD"):
        settings[key] = os.environ.get(f"{VARIABLE}{key}", "")
    if server_name() == "pgbouncer":
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
    settings.update(json.loads(os.environ.get(f"{VARIABLE}MORE") or "{}"))
    return settings


def engine_name() -> str:
    """Return what the environment wants: ``sqlite``, or a server."""
    return os.environ.get(f"{VARIABLE}ENGINE") or "sqlite"


def server_name() -> str:
    """Return the name of the server in ``tests.support.sql_server``; empty where it is no such."""
    return os.environ.get(f"{VARIABLE}SERVER", "")


def _let_pymysql_serve_django() -> None:
    # Django asks for mysqlclient, which has to be compiled; PyMySQL offers the same in Python.
    import pymysql

    pymysql.install_as_MySQLdb()
