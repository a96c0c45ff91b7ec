"""Verification finds every way in which an archive can be worth nothing."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from testproject.backups.archive import digest_file
from testproject.backups.content import read_content
from testproject.backups.jobs import BackupJob
from testproject.backups.models import Backup, Database
from testproject.backups.verification import find_faults


@pytest.fixture
def backup(row: Database) -> Backup:
    """A backup without a fault."""
    BackupJob.perform_inline(row.pk)
    made = Backup.objects.select_related("database").get(database=row)
    assert find_faults(made) == []
    return made


def forge(backup: Backup, content: bytes) -> None:
    """Replace the archive, and what is recorded of the file."""
    path = Path(backup.path)
    path.write_bytes(content)
    backup.size = path.stat().st_size
    backup.sha256 = digest_file(path)


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.9999])
def test_one_flipped_bit_is_found(backup: Backup, where: float) -> None:
    path = Path(backup.path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    assert any("SHA-256" in fault for fault in find_faults(backup))


def test_a_flipped_bit_is_found_by_the_restoring_where_the_digest_was_forged(
    backup: Backup,
) -> None:
    content = bytearray(Path(backup.path).read_bytes())
    content[len(content) // 2] ^= 1
    forge(backup, bytes(content))
    (fault,) = find_faults(backup)
    assert "cannot be restored" in fault


def test_an_archive_that_was_cut_off_is_found(backup: Backup) -> None:
    whole = Path(backup.path).read_bytes()
    Path(backup.path).write_bytes(whole[:-100])
    faults = find_faults(backup)
    assert any("bytes" in fault for fault in faults)
    assert any("cannot be restored" in fault for fault in faults)
    forge(backup, whole[: len(whole) // 2])
    (fault,) = find_faults(backup)
    assert "cannot be restored" in fault


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(gzip.compress(b""), id="nothing compressed"),
        pytest.param(gzip.compress(b"no database" * 99), id="no database"),
    ],
)
def test_an_archive_of_something_else_is_found(backup: Backup, content: bytes) -> None:
    forge(backup, content)
    assert find_faults(backup)


def test_a_damaged_database_in_a_sound_archive_is_found(backup: Backup) -> None:
    content = bytearray(gzip.decompress(Path(backup.path).read_bytes()))
    page = 4096 * (len(content) // 8192)
    content[page : page + 4096] = b"\xa5" * 4096
    forge(backup, gzip.compress(content))
    assert find_faults(backup)


def test_a_missing_archive_is_found(backup: Backup) -> None:
    Path(backup.path).unlink()
    (fault,) = find_faults(backup)
    assert fault.endswith("is missing")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM orders WHERE id = 1", "has the rows"),
        ("UPDATE orders SET total = total + 0.01 WHERE id = 1", "other values"),
        ("UPDATE orders SET receipt = x'00' WHERE receipt IS NULL", "other values"),
        ("UPDATE customers SET note = CAST(x'3130' AS TEXT) WHERE id = 3", "other values"),
        ("DROP INDEX open_orders", "other values"),
    ],
)
def test_a_source_that_differs_is_found(backup: Backup, change: str, says: str) -> None:
    with closing(sqlite3.connect(backup.database.path)) as connection, connection:
        connection.execute(change)
    (fault,) = find_faults(backup)
    assert says in fault


def test_a_wrong_number_of_rows_is_found(backup: Backup) -> None:
    backup.rows += 1
    (fault,) = find_faults(backup)
    assert "were recorded" in fault


def test_content_is_compared_by_value_and_type(tmp_path: Path) -> None:
    digests = set()
    for number, value in enumerate(("1", "'1'", "1.0", "x'31'", "NULL")):
        with closing(sqlite3.connect(tmp_path / str(number))) as connection, connection:
            connection.execute("CREATE TABLE t (c)")
            connection.execute(f"INSERT INTO t VALUES ({value})")
        digests.add(read_content(tmp_path / str(number)).digest)
    assert len(digests) == 5


def test_content_does_not_depend_on_how_the_file_is_laid_out(tmp_path: Path) -> None:
    for name, order in (("one", (1, 2, 3)), ("two", (3, 1, 2))):
        with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute('CREATE TABLE "a ""table""" (c)')
            connection.executemany(
                'INSERT INTO "a ""table""" VALUES (?)', [(value,) for value in order]
            )
    assert read_content(tmp_path / "one") == read_content(tmp_path / "two")
    assert read_content(tmp_path / "one").rows == {'a "table"': 3}
