"""The ledger: what is lost and what is done twice, out of what the jobs have written."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.ledger import Ledger
from tests.support.journal import Journal


def test_it_knows_what_was_lost_and_what_was_done_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    ledger = Ledger(journal)
    for ident in ("done", "twice", "lost", "twice"):
        journal.start("a1", ident)
    for ident in ("done", "twice", "twice"):
        journal.finish("a1", ident)
    assert ledger.missing(["done"]) == ["done"]  # nothing is known before it is read
    ledger.read()
    assert ledger.missing(["done", "twice", "lost", "never"]) == ["lost", "never"]
    assert ledger.double_starts() == {"twice": 1}
    assert ledger.double_finishes() == {"twice": 1}
    assert ledger.running() == 1
    journal.close()


def test_it_reads_on_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    ledger = Ledger(journal)
    journal.start("a1", "one")
    ledger.read()
    journal.finish("a1", "one")
    ledger.read()
    ledger.read()
    assert (ledger.starts, ledger.finishes) == ({"one": 1}, {"one": 1})
    journal.close()


def test_jobs_can_go_by_their_jids(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    ledger = Ledger(journal, by="jid")
    journal.start("a1", "same")
    journal.start("b2", "same")
    journal.finish("b2", "same")
    ledger.read()
    assert ledger.missing(["a1", "b2"]) == ["a1"]
    assert not ledger.double_starts()
    raw = b'{"class":"Any","args":["same"],"jid":"0123456789abcdef01234567","queue":"q"}'
    assert ledger.name_of(raw) == "0123456789abcdef01234567"
    assert Ledger(journal).name_of(raw) == "same"
    journal.close()
