"""What the doctor says of the kill switches."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from waffle.models import Flag

from django_jobqueue.connection import store
from django_jobqueue.doctor import Level
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.switches import flags
from tests.conftest import JobqueueSettings
from tests.doctor.conftest import ago, found
from tests.support.flags import set_flag

#: The switch of ``tests.jobsite.jobs.NoopJob``.
NOOP = "disable_noop_job"


@pytest.fixture(autouse=True)
def _flags(_configured: None) -> None:
    Flag.objects.all().delete()


def mirror(**states: str) -> None:
    """Tell the workers these states."""
    written = store().switches
    written.replace(written.version(), states)


def test_a_switch_that_is_on_is_noted_and_after_a_day_warned_of() -> None:
    assert found("switch-on") is None
    set_flag(NOOP, None, percent=30)
    fresh = found("switch-on")
    assert fresh is not None
    assert fresh.level is Level.NOTE
    assert f"{NOOP} (30 %)" in fresh.fact
    long_ago = datetime.fromtimestamp(ago(3 * 86_400), UTC)
    KillSwitchEvent.objects.filter(flag=NOOP).update(at=long_ago)
    old = found("switch-long-on")
    assert old is not None
    assert old.level is Level.WARNING
    assert "3 d" in old.fact
    assert found("switch-on") is None


def test_a_switch_that_nobody_wrote_down_is_noted_too() -> None:
    Flag.objects.bulk_create([Flag(name=NOOP, everyone=True)])
    assert found("switch-on") is not None


def test_a_switch_that_says_nothing_is_told() -> None:
    set_flag(NOOP, None)
    finding = found("switch-mute")
    assert finding is not None
    assert NOOP in finding.fact


def test_a_flag_that_stops_no_job_is_told_while_it_is_on() -> None:
    set_flag("disable_noop_jbo", False)
    assert found("switch-of-nobody") is None
    set_flag("disable_noop_jbo", True)
    finding = found("switch-of-nobody")
    assert finding is not None
    assert finding.level is Level.WARNING
    assert found("switch-on") is None


def test_a_mirror_that_differs_from_the_database_is_told() -> None:
    assert found("switch-mirror") is None
    Flag.objects.bulk_create([Flag(name=NOOP, everyone=True)])
    assert found("switch-mirror") is not None
    mirror(**{NOOP: "on"})
    assert found("switch-mirror") is None
    mirror(**{NOOP: "on", "disable_other": "on"})
    assert found("switch-mirror") is not None


def test_what_keeps_every_switch_from_acting_is_told(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[])
    assert found("no-middleware") is not None
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    finding = found("no-waffle")
    assert finding is not None
    assert finding.level is Level.NOTE
