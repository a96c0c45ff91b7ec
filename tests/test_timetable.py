"""When something is due: slots by the clock of a zone, each once, whatever the clock does."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from django_jobqueue.timetable import Timetable

PARIS = ZoneInfo("Europe/Paris")
DAY = 86_400

#: The nights on which Paris loses and gains an hour.
SPRING, AUTUMN = (datetime(2026, *day, tzinfo=PARIS) for day in ((3, 29), (10, 25)))

both_nights = pytest.mark.parametrize("night", [SPRING, AUTUMN])


def cron(line: str, tz: str = "Europe/Paris", **options: Any) -> Timetable:
    return Timetable("nightly", "reports.jobs.Nightly", cron=line, tz=tz, **options)


def every(seconds: int, name: str = "often") -> Timetable:
    return Timetable(name, "shop.jobs.Often", every=seconds)


def at(*parts: int, tz: str = "Europe/Paris", fold: int = 0) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(tz), fold=fold).timestamp())  # type: ignore[misc,arg-type]


def ahead(timetable: Timetable, after: float, until: float) -> list[int]:
    """Return the slots that are found one after the other."""
    found: list[int] = []
    moment = after
    while (slot := timetable.next(moment)) is not None and slot <= until:
        found.append(slot)
        moment = slot
    return found


# Every so often ---------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 7, 60, 3600, DAY])
def test_slots_of_every_are_evenly_spaced(seconds: int) -> None:
    timetable = every(seconds)
    start = 1_800_000_000.5
    slots = ahead(timetable, start, start + 5 * seconds)
    assert len(slots) == 5
    assert {b - a for a, b in itertools.pairwise(slots)} == {seconds}
    assert timetable.slots(start, start + 5 * seconds, 100) == slots
    assert start < slots[0] <= start + seconds


def test_the_slots_of_every_are_the_same_wherever_one_begins() -> None:
    timetable = every(60)
    slots = set(ahead(timetable, 1_800_000_000, 1_800_000_600))
    for start in range(1_800_000_000, 1_800_000_540, 7):
        assert timetable.next(start) in slots
        assert timetable.latest(start + 60) in slots


def test_fifty_entries_of_a_minute_are_not_all_due_at_once() -> None:
    seconds = {every(60, f"entry-{number}").next(0) for number in range(50)}
    assert len(seconds) > 20


@both_nights
def test_every_goes_by_hours_that_pass(night: datetime) -> None:
    start = int(night.timestamp())
    slots = ahead(every(3600), start, start + DAY)
    assert {b - a for a, b in itertools.pairwise(slots)} == {3600}


def test_a_slot_itself_is_the_latest_and_not_the_next() -> None:
    for timetable in (every(60), cron("* * * * *")):
        slot = timetable.next(1_800_000_000)
        assert slot is not None
        assert timetable.latest(slot) == slot
        assert timetable.latest(slot - 0.001) == slot - 60
        assert timetable.next(slot) == slot + 60
        assert timetable.next(slot - 0.001) == slot
        assert timetable.slots(slot, slot + 60, 9) == [slot + 60]


# Cron -------------------------------------------------------------------------


def test_a_cron_line_is_read_in_its_zone() -> None:
    midnight = at(2026, 1, 15, tz="UTC")
    assert cron("0 3 * * *").next(midnight) == midnight + 2 * 3600
    assert cron("0 3 * * *", "UTC").next(midnight) == midnight + 3 * 3600
    assert cron("0 3 * * *", "Asia/Kathmandu").next(midnight) == midnight + int(21.25 * 3600)


@pytest.mark.parametrize(
    ("night", "due"),
    [
        # 02:30 does not exist: once, when the gap is over.
        (SPRING, at(2026, 3, 29, 3, 0)),
        # 02:30 comes twice: the first time.
        (AUTUMN, at(2026, 10, 25, 2, 30, fold=0)),
    ],
)
def test_half_past_two_is_due_once_on_both_nights_of_a_clock_change(
    night: datetime, due: int
) -> None:
    timetable = cron("30 2 * * *")
    evening = int((night - timedelta(hours=4)).timestamp())
    noon = int((night + timedelta(hours=12)).timestamp())
    assert ahead(timetable, evening, noon) == [due]
    assert timetable.slots(evening, noon, 100) == [due]
    # From every minute of that night, as after a restart, forwards and backwards.
    for moment in range(evening, noon, 60):
        assert timetable.slots(moment, noon, 100) == ([due] if moment < due else [])
        assert timetable.slots(evening, moment, 100) == ([due] if moment >= due else [])
        following = timetable.next(moment)
        assert following == due if moment < due else (following or 0) > noon
        latest = timetable.latest(moment)
        assert latest == due if moment >= due else (latest or 0) < evening


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/Havana", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "line",
    ["30 2 * * *", "0 0 * * *", "30 0 * * *", "5,35 1-3 * * *", "0 */2 * * *", "*/20 1-2 * * *"],
)
def test_looking_ahead_and_looking_back_find_the_same(line: str, zone: str) -> None:
    timetable = cron(line, zone)
    for month in range(1, 13):
        start, end = at(2026, month, 1, tz=zone), at(2026, month, 28, tz=zone)
        back = timetable.slots(start, end, 10_000)
        assert back == sorted(set(back))
        assert ahead(timetable, start, end) == back


@pytest.mark.parametrize(("night", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_every_hour_of_a_long_or_short_day_has_its_slot(night: datetime, hours: int) -> None:
    start = int(night.timestamp())
    end = int((night + timedelta(days=1)).timestamp())
    assert len(cron("0 * * * *").slots(start - 1, end - 1, 100)) == hours


def test_a_leap_day_is_due_in_leap_years() -> None:
    timetable = cron("0 12 29 2 *")
    slots = ahead(timetable, at(2025, 1, 1), at(2033, 1, 1))
    assert slots == [at(2028, 2, 29, 12), at(2032, 2, 29, 12)]
    assert timetable.slots(at(2025, 1, 1), at(2033, 1, 1), 10) == slots
    assert timetable.latest(at(2027, 6, 1)) == at(2024, 2, 29, 12)


def test_another_zone_does_not_bring_a_slot_back() -> None:
    claimed = cron("0 3 * * *", "Europe/Paris").latest(at(2026, 6, 10, 12))
    assert claimed is not None
    # Eight hours later on the clock of New York: a slot of its own, after that one.
    moved = cron("0 3 * * *", "America/New_York")
    assert moved.slots(claimed, claimed + DAY - 1, 10) == [at(2026, 6, 10, 9)]


def test_a_date_that_never_comes_has_no_slot() -> None:
    # The fifth Monday of a February is its 29th.
    timetable = cron("0 0 */3 2 MON#5")
    assert timetable.next(1_800_000_000) is None
    assert timetable.latest(1_800_000_000) is None
    assert timetable.slots(0, 1_800_000_000, 10) == []
    assert timetable.period > 365 * DAY


# Many of them -----------------------------------------------------------------


def test_of_many_missed_slots_the_latest_are_given() -> None:
    year = 365 * DAY
    for timetable in (every(60), cron("* * * * *")):
        slots = timetable.slots(1_800_000_000, 1_800_000_000 + year, 3)
        last = timetable.latest(1_800_000_000 + year)
        assert last is not None
        assert slots == [last - 120, last - 60, last]


def test_a_gap_of_a_year_is_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    step = CronSim.__next__

    def count(self: CronSim) -> datetime:
        nonlocal steps
        steps += 1
        return step(self)

    monkeypatch.setattr(CronSim, "__next__", count)
    start = 1_800_000_000
    assert len(cron("* * * * *").slots(start, start + 365 * DAY, 24)) == 24
    assert cron("*/5 * * * *").latest(start + 365 * DAY) is not None
    assert 0 < steps < 50


@pytest.mark.parametrize(
    ("timetable", "period"),
    [
        (every(90), 90),
        (cron("*/5 * * * *"), 300),
        (cron("0 3 * * *"), DAY),
        (cron("0 12 * * MON"), 7 * DAY),
        (cron("0,30 12 * * *"), pytest.approx(DAY / 2, rel=0.1)),
        (cron("0 0 29 2 *"), pytest.approx(4 * 365.25 * DAY, rel=0.01)),
    ],
)
def test_the_period_is_the_time_between_two_slots(timetable: Timetable, period: float) -> None:
    assert timetable.period == period


def test_a_cron_line_is_told_in_words_or_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cron("0 3 * * *").words == "At 03:00 every day"
    assert cron("15 10 * * 5#2").words == "At 10:15 on the second Friday of the month"
    assert every(90).words == ""

    def speechless(self: CronSim) -> str:
        raise IndexError("no words")

    monkeypatch.setattr(CronSim, "explain", speechless)
    assert cron("0 3 * * *").words == "0 3 * * *"
