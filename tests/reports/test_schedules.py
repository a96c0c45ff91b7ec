"""What runs again and again, with its times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_jobqueue.models import Schedule
from django_jobqueue.reports.schedules import ScheduleFacts, schedules
from django_jobqueue.scheduling import slots
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noon of a day in January."""
    freeze(monkeypatch).now = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()
    jobqueue_settings(
        PERIODIC={
            "nightly": {"job": "shop.jobs.Nightly", "cron": "0 3 * * *", "tz": "Europe/Paris"},
            "often": {"job": "shop.jobs.Often", "every": "90s"},
        },
        RECONCILERS={"shop.jobs.Heal": {"every": "2h"}},
    )


def facts(name: str) -> ScheduleFacts:
    (found,) = (each for each in schedules().schedules if each.name == name)
    return found


def test_a_cron_line_is_told_in_words_with_its_next_times_in_its_zone() -> None:
    found = facts("nightly")
    assert (found.words, found.cron, found.tz) == (
        "At 03:00 every day",
        "0 3 * * *",
        "Europe/Paris",
    )
    assert [at.isoformat() for at in found.upcoming] == [
        "2027-01-16T03:00:00+01:00",
        "2027-01-17T03:00:00+01:00",
        "2027-01-18T03:00:00+01:00",
    ]
    assert found.next == found.upcoming[0]
    assert (found.last, found.paused, found.unpushed) == (None, False, False)


def test_periods_are_told_exactly() -> None:
    assert facts("often").period == "90 s"
    assert facts("shop.jobs.Heal").period == "2 h"
    assert facts("nightly").period == ""
    assert [each.kind for each in schedules().schedules] == ["periodic", "periodic", "reconciler"]


def test_a_paused_one_has_no_next_time() -> None:
    slots.pause("nightly")
    found = facts("nightly")
    assert (found.paused, found.next, found.upcoming) == (True, None, ())


def test_only_a_slot_was_the_last_and_not_the_moment_from_which_a_timetable_counts() -> None:
    slots.begin("nightly")
    assert facts("nightly").last is None
    slot = datetime(2027, 1, 15, 2, tzinfo=UTC)
    Schedule.objects.update(last_tick=int(slot.timestamp()))
    assert facts("nightly").last == slot
