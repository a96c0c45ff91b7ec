"""Fixtures that look into Redis, and Redis itself."""

from __future__ import annotations

import pytest

from tests.conftest import JobqueueSettings
from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "inside"]


@pytest.fixture
def queue(jobqueue_settings: JobqueueSettings, db: None) -> None:
    """A database and a Redis of the test's own; nothing of the users' is in between."""
    jobqueue_settings(SERVER_MIDDLEWARE=[])
