"""Tables and lengths for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_jobqueue.management import tables

NOW = datetime(2027, 1, 31, 8, tzinfo=UTC)


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    lines = list(tables.table(("QUEUE", "JOBS"), [("low", 7), ("default", 12_345)]))
    assert lines == [
        "QUEUE      JOBS",
        "low           7",
        "default  12,345",
    ]


def test_what_a_terminal_would_obey_is_escaped_in_every_cell() -> None:
    hostile = "\x1b[2J\x07evil\r\n\x9b31m\u202e"
    lines = [
        *tables.table(("A", "B"), [(hostile, hostile)]),
        *tables.facts([("name", hostile)]),
        tables.cell_of(hostile),
    ]
    assert all(line.isprintable() for line in lines)
    assert "evil" in lines[1]


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    lines = list(tables.table(("NAME", "X"), [("注文", "x"), ("e\u0301e", "x"), ("abcd", "x")]))
    assert [tables.width(line.rpartition("x")[0]) for line in lines[1:]] == [6, 6, 6]


def test_a_long_cell_is_cut_but_for_the_last_and_a_line_is_cut_at_its_limit() -> None:
    (_, line) = tables.table(("A", "B"), [("a" * 100, "b" * 100)])
    assert line == f"{'a' * 59}…  {'b' * 100}"
    (head, line) = tables.table(("A", "B"), [("a" * 100, "b" * 100)], limit=70)
    assert (len(head), line) == (63, f"{'a' * 59}…  {'b' * 7}…")
    assert tables.cut("注文注文", 5) == "注文…"


def test_nothing_is_a_dash_and_zero_is_zero() -> None:
    (_, line) = tables.table(("A", "B", "C"), [(None, "", 0)])
    assert line.split() == ["-", "-", "0"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (0.00001, "0.001 s"), (0.25, "0.25 s"), (9.876, "9.88 s"), (59.6, "60 s"),
        (119, "119 s"), (120, "2 min"), (3_599, "59 min"), (3_600, "1 h"),
        (12_000, "3 h 20 min"), (86_400, "1 d"), (93_600, "1 d 2 h"), (-300, "-5 min"),
        (None, "-"),
    ],
)  # fmt: skip
def test_lengths_of_time_are_told_in_two_units_at_most(seconds: float | None, told: str) -> None:
    assert tables.span(seconds) == told


def test_times_are_told_from_now() -> None:
    assert tables.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert tables.ago(NOW + timedelta(seconds=20), NOW) == "in 20 s"
    assert tables.ago(None, NOW) == "-"
    assert tables.local(None) == "-"
    assert tables.local(NOW).endswith(":00:00")


def test_sizes_and_shares_are_told_for_people() -> None:
    assert [tables.size(n) for n in (0, 1023, 1024, 5 << 20, 7 << 50)] == [
        "0 B", "1023 B", "1 KiB", "5 MiB", "7.17e+03 TiB",
    ]  # fmt: skip
    assert tables.size(None) == "-"
    assert [tables.share(part) for part in (0.0, 0.00001, 0.5, 1.0)] == [
        "0.0 %", "<0.1 %", "50.0 %", "100.0 %",
    ]  # fmt: skip
