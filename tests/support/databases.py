"""Databases of a test: a second one of its own, and the way of worker processes to the first."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as default_connection
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue import databases
from tests.support import sql_settings
from tests.support.sql_server import SERVERS, NotInstalled, SqlServer

#: The kinds of servers that this run is about: where it stands on one of them, that.
KINDS = [sql_settings.server_name()] if sql_settings.server_name() else sorted(SERVERS)

#: The drivers of the engines.
DRIVERS = {"postgresql": "psycopg", "mariadb": "pymysql"}

#: The database that real servers have.
JOBS = "jobs"


@pytest.fixture
def other_database(django_db_blocker: Any, tmp_path: Path) -> Iterator[BaseDatabaseWrapper]:
    """
    The connection to a database ``other`` with a table ``note (word text)``.

    A SQLite file, whatever the tests run on: it can be closed, broken and rolled back.
    """
    wanted = {**sql_settings.sqlite(str(tmp_path / "other.sqlite3")), "CONN_MAX_AGE": None}
    # Django knows its defaults for the settings of all databases at once.
    connections.settings["other"] = connections.configure_settings({"default": wanted})["default"]
    with django_db_blocker.unblock():
        connection = connections["other"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE note (word text)")
        yield connection
        connection.close()
    del connections["other"]
    del connections.settings["other"]


@pytest.fixture
def freshened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What the test's own thread does in the place of a loop's: connections are left alone.

    They may hold the transaction of the test. The list has "fresh" and "settled" for the
    beginning and the end of each block, and "closed" for an end that keeps no connection.
    """
    steps: list[str] = []

    @contextmanager
    def block(keep: bool) -> Iterator[None]:
        steps.append("fresh")
        yield
        steps.append("settled" if keep else "closed")

    def fresh(who: databases.Who, *, keep: bool = True) -> AbstractContextManager[None]:
        return block(keep)

    monkeypatch.setattr(databases, "fresh", fresh)
    return steps


@pytest.fixture
def database_of_workers(transactional_db: None) -> dict[str, str]:
    """
    The environment in which worker processes work on this test's own database.

    ``run_jobs(env=database_of_workers)``. What the test commits, they see.
    """
    return {"JOBQUEUE_TEST_DATABASE": str(default_connection.settings_dict["NAME"])}


def find_kind(name: str) -> type[SqlServer]:
    """Return a kind of server by its name; skip the test where this machine cannot run it."""
    kind = SERVERS[name]
    if importlib.util.find_spec(DRIVERS[kind.engine]) is None:
        pytest.skip(
            f"{DRIVERS[kind.engine]} is not installed: pip install 'django-jobqueue[databases]'"
        )
    try:
        kind.find_binary()
    except NotInstalled as error:
        pytest.skip(str(error))
    return kind


class _Servers:
    """The servers of this test process, each started when the first test wants it."""

    def __init__(self) -> None:
        self._started: dict[str, SqlServer] = {}
        self._closing = ExitStack()

    def get(self, kind: type[SqlServer]) -> SqlServer:
        if kind.name not in self._started:
            server = self._started[kind.name] = self._closing.enter_context(kind())
            server.execute(f"CREATE DATABASE {JOBS}")
        return self._started[kind.name]

    def close(self) -> None:
        self._closing.close()


@pytest.fixture(scope="session")
def real_servers() -> Iterator[_Servers]:
    """The real servers of this test process; import it beside ``real_server``."""
    servers = _Servers()
    yield servers
    servers.close()


@pytest.fixture(params=KINDS)
def real_server(request: pytest.FixtureRequest, real_servers: _Servers) -> SqlServer:
    """
    A server of this test process, of each kind, with an empty database ``JOBS``.

    It may be stopped, if it is resumed, and its connections cut.
    """
    return real_servers.get(find_kind(request.param))


@pytest.fixture
def server_database(
    real_server: SqlServer, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BaseDatabaseWrapper]:
    """The connection to a database ``server`` on it, with a table ``note (word text)``."""
    for name, value in real_server.environment.items():
        monkeypatch.setenv(name, value)
    wanted = {**sql_settings.server(JOBS), "CONN_MAX_AGE": None}
    connections.settings["server"] = connections.configure_settings({"default": wanted})["default"]
    with django_db_blocker.unblock():
        connection = connections["server"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE note (word text)")
        yield connection
        connection.close()
        real_server.execute("DROP TABLE note", JOBS)
    del connections["server"]
    del connections.settings["server"]
