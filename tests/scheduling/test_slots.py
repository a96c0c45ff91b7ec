"""The rows of timetables are read where they are written."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue.scheduling import slots
from tests.support.databases import other_database

__all__ = ["other_database"]


class ReadsElsewhere:
    """A router that sends what reads to a replica: here one that has nothing at all."""

    def db_for_read(self, model: type, **hints: Any) -> str:
        """Return the replica."""
        return "other"

    def db_for_write(self, model: type, **hints: Any) -> str:
        """Return the database that is written to."""
        return "default"


@pytest.mark.django_db
def test_a_replica_that_is_behind_is_not_asked(
    other_database: BaseDatabaseWrapper, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]
    row = slots.begin("often")
    assert slots.claim(row, row.last_tick + 60)
    assert slots.rows(["often"])["often"].last_tick == row.last_tick + 60
    assert not slots.claim(row, row.last_tick + 120)
