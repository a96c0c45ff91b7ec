"""Databases of a test: a second one of its own, and the way of worker processes to the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as default_connection
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support import sql_settings


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
def database_of_workers(transactional_db: None) -> dict[str, str]:
    """
    The environment in which worker processes work on this test's own database.

    ``run_jobs(env=database_of_workers)``. What the test commits, they see.
    """
    return {"JOBQUEUE_TEST_DATABASE": str(default_connection.settings_dict["NAME"])}
