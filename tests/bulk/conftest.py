"""Fixtures that look into Redis, and settings of every test here."""

from __future__ import annotations

import pytest

from tests.conftest import JobqueueSettings
from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "inside"]


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    kill_switch = "django_jobqueue.middleware.kill_switch.KillSwitch"
    jobqueue_settings(CLIENT_MIDDLEWARE=[kill_switch, "tests.api.middleware.Picky"])
