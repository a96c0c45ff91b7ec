"""A row whose job dies is left alone for a while, longer after each death."""

from __future__ import annotations

import pytest

from django_jobqueue.connection import store
from django_jobqueue.reconciliation.drift import drift
from django_jobqueue.reconciliation.run import reconcile
from tests.conftest import JobqueueSettings, StartRunJobs
from tests.healing.jobs import ScheduleDoomed
from tests.healing.models import Order
from tests.support.inside import Inside

RECONCILERS = {"tests.healing.jobs.ScheduleDoomed": {"every": "1h"}}


@pytest.mark.django_db
def test_a_dead_row_cools_down_for_a_period_and_twice_as_long_after_its_second_death(
    jobqueue_settings: JobqueueSettings, run_jobs: StartRunJobs, inside: Inside
) -> None:
    jobqueue_settings(RECONCILERS=RECONCILERS)
    order = Order.objects.create(state="doomed")
    plan = ScheduleDoomed().plan()

    def die() -> tuple[int, float]:
        """Run its job; return the number of deaths and the seconds of the cool-down."""
        assert reconcile(plan).pushed == 1
        assert inside.args("doomed") == [[order.pk]]
        # A database of its own: the tables of the schedule are missed there, and not needed.
        worker = run_jobs(
            "--burst", "--queue", "doomed",
            settings="tests.healing.settings",
            RECONCILERS=RECONCILERS,
        )  # fmt: skip
        assert worker.wait() == 0, worker.output()
        (tombstone,) = store().locks.tombstones([digest()]).values()
        return tombstone.deaths, tombstone.until - float(inside.client.time()[0])

    def digest() -> str:
        found: str = inside.entries("dead")[0][0]["unique_digest"]
        return found

    deaths, cooldown = die()
    assert deaths == 1
    assert 3500 < cooldown <= 3601
    report = reconcile(plan)
    assert (report.pushed, report.cooling) == (0, 1)
    assert (drift(plan).missing, drift(plan).cooling) == (0, 1)

    inside.client.hset(store().keys.tombstone(digest()), "until", 1)
    deaths, cooldown = die()
    assert deaths == 2
    assert 7100 < cooldown <= 7201
    assert reconcile(plan).cooling == 1
    retried = reconcile(plan, retry_dead=True)
    assert (retried.pushed, retried.cooling) == (1, 0)
    inside.client.delete(inside.key("queue:doomed"), inside.key(f"jq:unique:{digest()}"))

    store().locks.clear_tombstone(digest())
    assert reconcile(plan).pushed == 1
