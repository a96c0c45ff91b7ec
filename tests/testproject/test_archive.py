"""An archive holds what the source holds, and is there whole or not at all."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from testproject.backups import archive as room
from testproject.backups.archive import digest_file, make_archive
from testproject.backups.content import read_content
from testproject.backups.samples import make_database


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database of a shop."""
    path = tmp_path / "shop's 100% #1?.sqlite3"
    make_database(path, 1)
    return path


def unpack(archive: Path, target: Path) -> Path:
    """Restore an archive."""
    target.write_bytes(gzip.decompress(archive.read_bytes()))
    return target


def test_size_and_digest_are_those_of_the_file(source: Path, tmp_path: Path) -> None:
    made = make_archive(source, tmp_path / "archives", "000001")
    assert made.path.stat().st_size == made.size
    assert digest_file(made.path) == made.sha256
    assert made.path.name == f"000001-{made.sha256[:16]}.sqlite3.gz"


def test_the_same_data_give_the_same_archive(source: Path, tmp_path: Path) -> None:
    first = make_archive(source, tmp_path / "archives", "000001")
    bytes_before = first.path.read_bytes()
    assert bytes_before[4:8] == bytes(4), "there is a time in it"
    second = make_archive(source, tmp_path / "archives", "000001")
    assert second == first
    assert second.path.read_bytes() == bytes_before


def test_rows_are_counted_over_all_tables(source: Path, tmp_path: Path) -> None:
    made = make_archive(source, tmp_path / "archives", "000001")
    assert made.rows == sum(read_content(source).rows.values())


def test_what_a_source_in_wal_mode_has_not_checkpointed_is_in_the_archive(
    source: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("UPDATE customers SET note = 'only in the log' WHERE id = 1")
        assert Path(f"{source}-wal").stat().st_size > 0
        made = make_archive(source, tmp_path / "archives", "000001")
    restored = unpack(made.path, tmp_path / "restored.sqlite3")
    # Bytes 18 and 19 tell the mode: the archive's is the old one, which needs no second file.
    assert restored.read_bytes()[18:20] == b"\x01\x01"
    assert read_content(restored) == read_content(source)


def test_a_source_is_copied_while_a_transaction_is_open(source: Path, tmp_path: Path) -> None:
    before = read_content(source)
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM orders")
        made = make_archive(source, tmp_path / "archives", "000001")
        connection.execute("ROLLBACK")
    assert read_content(unpack(made.path, tmp_path / "restored.sqlite3")) == before


def test_a_source_that_stays_locked_is_given_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testproject.backups.content.LOCK_TIMEOUT", 0.0)
    monkeypatch.setattr(room, "LOCK_TIMEOUT", 0.0)
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TimeoutError, match="stayed locked"):
            make_archive(source, tmp_path / "archives", "000001")


def test_an_attempt_that_dies_before_the_end_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        make_archive(source, tmp_path / "archives", "000001")
    left = [path for path in (tmp_path / "archives").rglob("*") if path.is_file()]
    assert left == []
