"""The sample databases are the same for the same seed, and worth backing up."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from testproject.backups.content import check_integrity, connect, read_content
from testproject.backups.samples import make_database, make_databases


def test_equal_seeds_give_equal_content(tmp_path: Path) -> None:
    make_database(tmp_path / "one", 7)
    make_database(tmp_path / "two", 7)
    assert read_content(tmp_path / "one") == read_content(tmp_path / "two")


def test_other_seeds_give_other_content(tmp_path: Path) -> None:
    paths = list(make_databases(tmp_path, 3, 1)) + list(make_databases(tmp_path / "more", 3, 2))
    assert len({read_content(path).digest for path in paths}) == 6


def test_they_hold_some_thousand_rows_with_text_and_blobs(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    make_database(path, 7)
    rows = read_content(path).rows
    assert set(rows) == {"customers", "orders"}
    assert rows["customers"] >= 150
    assert rows["orders"] >= 800
    with closing(connect(path)) as connection:
        assert check_integrity(connection) == "ok"
        kinds = connection.execute("SELECT DISTINCT typeof(receipt) FROM orders ORDER BY 1")
        assert kinds.fetchall() == [("blob",), ("null",)]
        strangers = connection.execute(
            "SELECT count(*) FROM orders WHERE customer_id NOT IN (SELECT id FROM customers)"
        )
        assert strangers.fetchone() == (0,)
