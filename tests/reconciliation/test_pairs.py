"""Which reconciler heals which job: by the settings, and found again by its name."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobqueue.exceptions import UnknownReconciler
from django_jobqueue.reconciliation.pairs import (
    cooldown_of,
    find,
    pairs,
    reconcilers_of,
    timetable_of,
)
from tests.healing.jobs import ScheduleOrders, ScheduleParcels

ORDERS = "tests.healing.jobs.ScheduleOrders"
PARCELS = "tests.healing.jobs.ScheduleParcels"
JOB = "tests.healing.jobs.OrderJob"


def listed(settings: Any, **entries: dict[str, Any]) -> None:
    paths = {f"tests.healing.jobs.{name}": entry for name, entry in entries.items()}
    settings.JOBQUEUE = {"OUTLET": "fake", "RECONCILERS": paths}


def test_the_cool_down_of_a_row_begins_with_the_period_of_its_reconciler(settings: Any) -> None:
    listed(settings, ScheduleOrders={"every": "1m"}, ScheduleParcels={"cron": "0 * * * *"})
    assert cooldown_of(JOB) == 60
    assert cooldown_of("tests.healing.jobs.ParcelJob") == 3600
    assert cooldown_of("tests.healing.jobs.VoucherJob") == 0
    assert cooldown_of("unknown") == 0


def test_what_is_remembered_goes_with_the_settings(settings: Any) -> None:
    listed(settings, ScheduleOrders={"every": "1m"})
    assert [pair.reconciler for pair in pairs()] == [ScheduleOrders]
    assert reconcilers_of(JOB) == (ScheduleOrders,)
    assert cooldown_of(JOB) == 60
    listed(settings)
    assert pairs() == ()
    assert reconcilers_of(JOB) == ()
    assert cooldown_of(JOB) == 0


def test_one_that_does_not_import_is_left_out_and_told(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listed(settings, Nothing={"every": "1m"}, OrderJob={"every": "1m"})
    assert pairs() == ()
    assert "tests.healing.jobs" in caplog.text


def test_the_timetable_of_one_that_is_not_listed_is_none(settings: Any) -> None:
    listed(settings, ScheduleOrders={"every": "1m"})
    timetable = timetable_of(ScheduleOrders)
    assert timetable is not None
    assert timetable.every == 60
    assert timetable_of(ScheduleParcels) is None


@pytest.mark.parametrize("name", ["ScheduleOrders", ORDERS])
def test_one_is_found_by_the_name_of_its_class_and_by_its_path(name: str) -> None:
    assert find([name]) == [ScheduleOrders]
    assert find([name, ORDERS, "ScheduleParcels"]) == [ScheduleOrders, ScheduleParcels]


def test_without_names_all_are_found() -> None:
    assert {ScheduleOrders, ScheduleParcels} <= set(find())


@pytest.mark.parametrize(
    ("name", "guess"), [("ScheduleOrder", "ScheduleOrders"), (f"{ORDERS}s", ORDERS)]
)
def test_a_name_that_is_nearly_right_is_guessed(name: str, guess: str) -> None:
    with pytest.raises(UnknownReconciler, match=f"Did you mean '{guess}'"):
        find([name])


def test_a_name_that_is_wrong_is_told_what_there_is() -> None:
    with pytest.raises(UnknownReconciler, match=ORDERS):
        find(["qqq"])
