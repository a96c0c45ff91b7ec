"""What a switch would stop, before it is thrown."""

from __future__ import annotations

import pytest

from django_jobqueue import Job
from django_jobqueue.reports.stakes import Estimate, stakes
from tests.conftest import JobqueueSettings


class StakedJob(Job):
    """Is looked for."""

    queue = "staked"
    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


class OtherJob(Job):
    """Is in the way."""

    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[])


def waiting() -> dict[str, Estimate]:
    return {each.place: each for each in stakes(StakedJob).waiting}


def test_jobs_are_counted_where_they_wait() -> None:
    StakedJob.perform_bulk([()] * 3)
    OtherJob.set(queue="staked").perform_bulk([()] * 2)
    StakedJob.set(queue="elsewhere").perform_async()
    StakedJob.perform_in(3600)
    found = waiting()
    assert {place: (each.count, each.exact) for place, each in found.items()} == {
        "queue:staked": (3, True),
        "queue:elsewhere": (1, True),
        "schedule": (1, True),
        "retry": (0, True),
    }
    whole = stakes(StakedJob)
    assert (whole.running, whole.held, whole.per_minute, whole.unseen) == (0, 0, 0.0, 0)


def test_of_a_long_queue_a_sample_is_read() -> None:
    for _ in range(20):
        StakedJob.perform_bulk([()] * 30)
        OtherJob.set(queue="staked").perform_bulk([()] * 90)
    found = waiting()["queue:staked"]
    assert (found.size, found.exact) == (2400, False)
    assert found.looked_at <= 300
    assert 300 <= found.count <= 900


def test_only_the_fullest_queues_are_looked_at() -> None:
    for number in range(7):
        OtherJob.set(queue=f"q{number}").perform_async()
    assert stakes(StakedJob).unseen == 3
