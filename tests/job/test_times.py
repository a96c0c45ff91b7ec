"""Whatever a user calls a time or a delay becomes epoch seconds, or is refused with the reason."""

from __future__ import annotations

import datetime as dt
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue.exceptions import InvalidSchedule
from django_jobqueue.job.times import after, moment, seconds
from tests.support.clocks import FrozenClock, freeze


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


NAIVE = datetime(2050, 7, 1, 14, 0, tzinfo=UTC).replace(tzinfo=None)

NOT_NUMBERS = [
    True, False, None, "5", "2030-01-01", b"5", Decimal(5), 5j, [5],
    pytest.param(object(), id="object"), float("nan"), float("inf"), float("-inf"),
    10**400, -(10**400),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (5, 5.0),
        (1.5, 1.5),
        (0, 0.0),
        (-3, -3.0),
        (timedelta(minutes=2), 120.0),
        (timedelta(microseconds=1), 1e-6),
        (timedelta.max, timedelta.max.total_seconds()),
    ],
)
def test_a_duration_is_a_timedelta_or_seconds(value: Any, length: float) -> None:
    assert seconds(value) == length
    assert type(seconds(value)) is float


@pytest.mark.parametrize("value", [*NOT_NUMBERS, datetime(2030, 1, 1, tzinfo=UTC)], ids=repr)
def test_anything_else_is_no_duration(value: Any) -> None:
    with pytest.raises(
        InvalidSchedule, match="a delay is a timedelta or a finite number of seconds"
    ) as caught:
        after(value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.value is value


def test_a_delay_counts_from_now(clock: FrozenClock) -> None:
    assert after(60) == clock.now + 60
    assert after(timedelta(hours=1)) == clock.now + 3600
    assert after(1e-3) == clock.now + 1e-3


@pytest.mark.parametrize("delay", [0, 0.0, -0.0, -1, timedelta(0), timedelta(days=-1)])
def test_no_delay_or_a_past_one_is_now(delay: Any) -> None:
    assert after(delay) is None


@given(st.floats(min_value=1.0, max_value=1e9))
def test_a_number_is_epoch_seconds(ahead: float) -> None:
    when = 4e9 + ahead
    assert moment(when) == when


@pytest.mark.parametrize("when", [0, -1, -1e300, 1.5, datetime(1969, 1, 1, tzinfo=UTC)])
def test_the_past_is_now(when: Any) -> None:
    assert moment(when) is None


def test_this_very_moment_is_now(clock: FrozenClock) -> None:
    assert moment(clock.now) is None
    assert moment(clock.now + 1e-3) == clock.now + 1e-3


def test_an_aware_datetime_is_taken_by_its_zone() -> None:
    utc = datetime(2050, 7, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    assert moment(utc) == utc.timestamp()
    assert moment(utc.astimezone(ZoneInfo("Asia/Kathmandu"))) == utc.timestamp()
    assert moment(utc.astimezone(dt.timezone(timedelta(hours=-7)))) == utc.timestamp()


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_last_moment_of_the_calendar_is_a_time(zone: str, settings: Any) -> None:
    settings.TIME_ZONE = zone
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=ZoneInfo(zone))
    found = moment(last)
    assert found is not None
    assert found > 253_000_000_000
    settings.USE_TZ = False
    assert moment(last.replace(tzinfo=None)) == found


def test_a_naive_datetime_is_in_the_current_zone_without_time_zone_support(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Paris"
    with warnings.catch_warnings(record=True) as told:
        found = moment(NAIVE)
    assert found == datetime(2050, 7, 1, 12, 0, tzinfo=UTC).timestamp()
    assert told == []


def test_a_naive_datetime_with_time_zone_support_is_taken_with_a_warning(settings: Any) -> None:
    settings.USE_TZ = True
    with timezone.override("Europe/Paris"), pytest.warns(RuntimeWarning, match="naive datetime"):
        assert moment(NAIVE) == datetime(2050, 7, 1, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("value", [*NOT_NUMBERS, dt.date(2050, 1, 1), dt.time(12)], ids=repr)
def test_anything_else_is_no_moment(value: Any) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        moment(value)
    assert str(caught.value).startswith(repr(value)[:200])
    assert str(caught.value).endswith(
        " is not a time to run at: a moment is a datetime or a finite number of epoch seconds."
    )
    assert len(str(caught.value)) < 300


def test_a_delay_in_place_of_a_moment_is_told_where_it_belongs() -> None:
    with pytest.raises(InvalidSchedule, match="for a delay use perform_in"):
        moment(timedelta(hours=1))
