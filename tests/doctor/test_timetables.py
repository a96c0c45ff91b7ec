"""What the doctor says of reconcilers and timetables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.doctor import Level
from django_jobqueue.models import ReconcilerState, Schedule
from tests.conftest import JobqueueSettings
from tests.doctor.conftest import found
from tests.healing.jobs import ScheduleOrders
from tests.support.clocks import freeze

ORDERS = "tests.healing.jobs.ScheduleOrders"


@pytest.fixture(autouse=True)
def _listed(_configured: None, jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        RECONCILERS={ORDERS: {"every": "1m"}},
        PERIODIC={"hourly": {"job": "tests.jobsite.jobs.NoopJob", "every": "1h"}},
    )


def state(*, succeeded: float | None = 0.0, **facts: Any) -> None:
    """Write down how the reconciler stands; ``succeeded`` seconds ago."""
    at = None if succeeded is None else datetime.fromtimestamp(clock.now() - succeeded, UTC)
    given = {"status": "done", "succeeded_at": at, **facts}
    ReconcilerState.objects.update_or_create(name=ORDERS, defaults=given)


def schedule(
    name: str, *, ticked: float, pushed: float | None = None, paused: bool = False
) -> None:
    """Write down the last slot of a timetable, and the last one pushed, seconds ago."""
    now = clock.now()
    facts = {
        "last_tick": now - ticked,
        "pushed_tick": now - (ticked if pushed is None else pushed),
        "paused": paused,
    }
    Schedule.objects.update_or_create(name=name, defaults=facts)


def test_a_reconciler_that_never_ended_is_told_until_it_has() -> None:
    finding = found("reconciler-never")
    assert finding is not None
    assert ORDERS in finding.fact
    state(succeeded=None, status="running")
    assert found("reconciler-never") is not None
    state()
    assert found("reconciler-never") is None


def test_a_reconciler_that_failed_is_a_fault_with_its_last_line() -> None:
    state(status="failed", error="Traceback ...\nValueError: no such \x1b[31mtable\n")
    finding = found("reconciler-failed")
    assert finding is not None
    assert finding.is_fault
    assert finding.fact.endswith("failed: ValueError: no such \\x1b[31mtable")
    state(status="failed", error="")
    assert found("reconciler-failed") is not None


def test_a_reconciler_is_behind_after_three_periods() -> None:
    state(succeeded=150)
    assert found("reconciler-behind") is None
    state(succeeded=600)
    finding = found("reconciler-behind")
    assert finding is not None
    assert finding.is_fault
    assert "every 60 s and did so last 10 min ago" in finding.fact


def test_one_that_waits_for_a_late_queue_or_is_stopped_is_no_fault() -> None:
    state(succeeded=600, status="skipped_backpressure", skips=9)
    finding = found("reconciler-waits")
    assert finding is not None
    assert finding.level is Level.WARNING
    assert "9 times" in finding.fact
    state(succeeded=600, status="skipped_disabled")
    assert found("reconciler-waits") is found("reconciler-behind") is None
    state(succeeded=600)
    schedule(ORDERS, ticked=0, paused=True)
    assert found("reconciler-behind") is None


def test_rows_that_wait_longer_than_was_promised_are_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state(oldest_pending=700.0)
    assert found("reconciler-objective") is None
    monkeypatch.setattr(ScheduleOrders, "heal_within", 900)
    assert found("reconciler-objective") is None
    monkeypatch.setattr(ScheduleOrders, "heal_within", 300)
    finding = found("reconciler-objective")
    assert finding is not None
    assert "waited for 12 min; heal_within is 5 min" in finding.fact


def test_slots_that_nobody_claims_are_a_fault() -> None:
    assert found("schedule-behind") is None
    schedule("hourly", ticked=2 * 3600 + 300)
    finding = found("schedule-behind")
    assert finding is not None
    assert finding.is_fault
    assert finding.fact.endswith(": hourly.")
    schedule("hourly", ticked=0)
    assert found("schedule-behind") is None


def test_slots_that_do_not_get_into_redis_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    (hourly,) = get_settings().periodic
    slot = hourly.latest(clock.now()) or 0
    frozen = freeze(monkeypatch)
    for late, is_told in ((60, False), (300, True)):
        frozen.now = slot + late
        schedule("hourly", ticked=late, pushed=late + 3600)
        finding = found("schedule-unpushed")
        assert (finding is not None) is is_told
    assert finding is not None
    assert finding.is_fault


def test_a_paused_timetable_is_told() -> None:
    schedule("hourly", ticked=9 * 3600, paused=True)
    finding = found("schedule-paused")
    assert finding is not None
    assert finding.level is Level.WARNING
    assert found("schedule-behind") is None
