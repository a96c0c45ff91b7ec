"""A second database of a test's own, in a file: it can be closed, broken and rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def other_database(django_db_blocker: Any, tmp_path: Path) -> Iterator[BaseDatabaseWrapper]:
    """The connection to a database ``other`` with a table ``note (word text)``."""
    connections.settings["other"] = {
        **connections.settings["default"],
        "NAME": str(tmp_path / "other.sqlite3"),
        "CONN_MAX_AGE": None,
    }
    with django_db_blocker.unblock():
        connection = connections["other"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE note (word text)")
        yield connection
        connection.close()
    del connections["other"]
    del connections.settings["other"]
