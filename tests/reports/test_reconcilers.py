"""How the reconcilers stand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_jobqueue.models import ReconcilerRun, ReconcilerState
from django_jobqueue.reports.reconcilers import ReconcilerFacts, reconciler, reconcilers
from django_jobqueue.scheduling import slots
from tests.conftest import JobqueueSettings
from tests.healing.jobs import OrderJob, ScheduleOrders
from tests.support.flags import set_flag

NAME = "tests.healing.jobs.ScheduleOrders"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _listed(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(RECONCILERS={NAME: {"every": "1m"}})


def facts() -> ReconcilerFacts:
    (found,) = (each for each in reconcilers().reconcilers if each.name == NAME)
    return found


def stands(**values: Any) -> None:
    ReconcilerState.objects.update_or_create(name=NAME, defaults=values)


def test_one_that_never_ran_is_listed_with_its_job_and_its_times() -> None:
    found = facts()
    assert (found.status, found.succeeded_at, found.runs, found.overdue) == ("", None, (), False)
    assert (found.job, found.queue) == ("tests.healing.jobs.OrderJob", "orders")
    assert found.schedule is not None
    assert found.schedule.period == "1 min"


def test_one_that_is_not_in_the_settings_has_no_times(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    assert facts().schedule is None
    assert not facts().overdue


def test_one_without_a_success_for_three_periods_is_overdue() -> None:
    slots.begin(NAME)
    stands(status="failed", succeeded_at=timezone.now() - timedelta(minutes=3))
    assert not facts().overdue
    stands(succeeded_at=timezone.now() - timedelta(minutes=5))
    assert facts().overdue
    slots.pause(NAME)
    assert not facts().overdue


def test_one_whose_oldest_row_passed_the_objective_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stands(status="done", oldest_pending=61.0)
    assert not facts().behind
    monkeypatch.setattr(ScheduleOrders, "heal_within", timedelta(minutes=1))
    assert facts().behind
    assert facts().objective == 60.0


def test_switches_that_stop_it_are_named() -> None:
    set_flag("disable_order_job", True)
    set_flag("disable_schedule_orders", None, percent=50)
    assert facts().stopped_by == ("disable_order_job",)


def test_its_runs_are_told_the_latest_first_and_of_an_error_its_end() -> None:
    now = timezone.now()
    for ago, status in ((3, "done"), (2, "failed"), (1, "done")):
        at = now - timedelta(minutes=ago)
        ReconcilerRun.objects.create(
            name=NAME, status=status, started_at=at, finished_at=at + timedelta(seconds=2),
            found=ago, error="Traceback:\n  in x\nValueError: no" if status == "failed" else "",
        )  # fmt: skip
    stands(status="failed", error="Traceback:\n  in x\nValueError: no")
    runs = facts().runs
    assert [(run.status, run.found, run.seconds) for run in runs] == [
        ("done", 1, 2.0), ("failed", 2, 2.0), ("done", 3, 2.0),
    ]  # fmt: skip
    assert (runs[1].error, facts().error) == ("ValueError: no", "ValueError: no")
    one = reconciler(NAME)
    assert one is not None
    assert one.trace.startswith("Traceback")
    assert one.as_dict()["facts"]["name"] == NAME
    assert reconciler("nowhere.Heal") is None


def test_jobs_that_nobody_heals_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    job = "tests.healing.jobs.OrderJob"
    assert job not in reconcilers().unpaired + reconcilers().exempt
    monkeypatch.setattr(ScheduleOrders, "job", None)
    assert job in reconcilers().unpaired
    monkeypatch.setattr(OrderJob, "self_healing", False)
    assert job in reconcilers().exempt


def test_what_the_checks_say_of_it_is_told(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(RECONCILERS={NAME: {"every": "1h"}})
    one = reconciler(NAME)
    assert one is not None
    assert [problem.id for problem in one.problems] == ["django_jobqueue.W052"]
    assert one.options["batch_size"] == 1000
