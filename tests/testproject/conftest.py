"""Databases to back up, and the job run in the test's own process: none of this needs Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from testproject.backups.models import Database
from testproject.backups.samples import make_database

#: Make a database of a seed, and its row.
MakeRow = Callable[[int], Database]


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[Path]:
    """The folder of the archives of this test."""
    folder = tmp_path / "archives"
    with override_settings(BACKUPS_ARCHIVE_DIR=folder, JOBQUEUE={"OUTLET": "inline"}):
        yield folder


@pytest.fixture
def make_row(db: None, archives: Path, tmp_path: Path) -> MakeRow:
    """A factory of databases that wait for their backup."""

    def make(seed: int) -> Database:
        path = tmp_path / f"shop-{seed}.sqlite3"
        make_database(path, seed)
        return Database.objects.create(name=path.stem, path=str(path))

    return make


@pytest.fixture
def row(make_row: MakeRow) -> Database:
    """One database that waits for its backup."""
    return make_row(1)
