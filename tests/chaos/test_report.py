"""The report: what it shows, and that a broken promise cannot be overlooked."""

from __future__ import annotations

import json

import pytest

from tests.chaos.report import Report, bound

FACTS = {"command": "python -m tests.chaos kill --seed 7"}


@pytest.fixture
def report() -> Report:
    made = Report("kill: 200 kills")
    made.tell("jobs", 10_000)
    made.promise("lost", 0, "none", True)
    return made


def test_figures_stand_beside_what_was_promised(report: Report) -> None:
    text = report.text(FACTS)
    assert "python -m tests.chaos kill --seed 7" in text
    assert "10,000" in text
    assert "kept: none" in text
    assert text.endswith("1 of 1 promises kept\n")
    assert report.broken == []


def test_a_broken_promise_is_the_last_word(report: Report) -> None:
    report.promise("double starts", 12, "at most 10", False)
    assert "BROKEN: at most 10" in report.text(FACTS)
    assert report.text(FACTS).endswith("1 of 2 promises BROKEN\n")
    assert [line.name for line in report.broken] == ["double starts"]


def test_where_nothing_was_promised_nothing_was_kept() -> None:
    made = Report("kill, of another system")
    made.tell("lost", 319)
    assert made.text(FACTS).endswith("nothing was promised\n")
    assert made.broken == []


def test_programs_read_the_same(report: Report) -> None:
    report.promise("settled", "no", "yes", False)
    read = json.loads(report.as_json(FACTS))
    assert read["facts"] == FACTS
    assert read["lines"]["jobs"] == {"value": 10_000}
    assert read["lines"]["lost"] == {"value": 0, "promise": "none", "kept": True}
    assert read["broken"] == ["settled"]


def test_no_loss_in_many_faults_bounds_the_rate() -> None:
    assert bound(0, 200) == "0 in 200; with 95 % confidence fewer than 0.0150"
    assert bound(3, 200) == "3 in 200"
    assert bound(0, 0) == "0 in 0"
