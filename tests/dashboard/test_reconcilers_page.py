"""The pages of reconcilers and schedules: how they stand, and what can be ordered there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from django_jobqueue import Job
from django_jobqueue.models import ReconcilerRun, ReconcilerState, Schedule
from django_jobqueue.permissions import Permission
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.healing.jobs import OrderJob, ScheduleOrders
from tests.healing.models import Order
from tests.support.flags import set_flag
from tests.support.inside import Inside

HEAL = "tests.healing.jobs.ScheduleOrders"
ACTS = ("run", "dry_run", "drift", "fire", "pause", "resume")

pytestmark = pytest.mark.django_db


class NightlyJob(Job):
    """Is due at night."""

    queue = "nights"
    self_healing = False

    def perform(self, number: int) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        RECONCILERS={HEAL: {"every": "90s"}},
        PERIODIC={
            "nightly": {
                "job": f"{__name__}.NightlyJob",
                "cron": "0 3 * * *",
                "tz": "Europe/Paris",
                "args": [7],
            },
            "lost": {"job": "nowhere.jobs.Lost", "every": "1h"},
        },
    )


def page(browser: Client, name: str = "reconcilers", **query: str) -> str:
    answer = browser.get(address(name), query)
    assert answer.status_code == 200
    return answer.content.decode()


def one(browser: Client) -> str:
    return page(browser, "reconcilers_one", reconciler=HEAL)


def post(browser: Client, act: str, **form: Any) -> str:
    """Post to an act; return what the operator is told."""
    answer = browser.post(address(f"reconcilers_{act}"), form)
    assert answer.status_code == 302
    return str(list(get_messages(answer.wsgi_request))[-1])


# Looking ------------------------------------------------------------------------------


def test_reconcilers_and_periodic_jobs_stand_there_with_their_times(operator: Client) -> None:
    text = page(operator)
    assert "ScheduleOrders" in text
    assert "every 90 s" in text
    assert "heals OrderJob" in text
    assert "At 03:00 every day" in text
    assert "(Europe/Paris)" in text
    assert text.count(" 03:00 CE") == 3


def test_how_it_went_is_told_with_its_history(operator: Client) -> None:
    now = timezone.now()
    for minute, status in enumerate(("done", "failed", "a status of tomorrow")):
        at = now - timedelta(minutes=minute)
        ReconcilerRun.objects.create(
            name=HEAL, status=status, started_at=at, finished_at=at, pushed=11 + minute,
            error="ValueError: <b>bold</b>",
        )  # fmt: skip
    ReconcilerState.objects.create(
        name=HEAL, status="failed", finished_at=now, found=4711, oldest_pending=7200,
        error="Traceback\nValueError: <b>bold</b>",
    )  # fmt: skip
    set_flag("disable_order_job", True)
    for text in (page(operator), one(operator)):
        assert "4,711" in text
        assert "failed" in text
        assert "disable_order_job" in text
        assert "<b>bold" not in text
        assert text.count('<li class="jq-bad"') == 1
    assert "ValueError: &lt;b&gt;bold" in one(operator)
    assert operator.get(address("reconcilers_one"), {"reconciler": "x"}).status_code == 404


def test_jobs_without_a_reconciler_are_named(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScheduleOrders, "job", None)
    text = page(operator)
    assert "Nobody heals these jobs" in text
    assert "tests.healing.jobs.OrderJob" in text
    assert "no job" in text
    assert "Dry run" not in one(operator)


def test_one_that_is_not_listed_says_so(
    operator: Client, jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    assert "not in the settings" in page(operator)
    assert "it never runs by itself" in one(operator)
    post(operator, "run", reconciler=HEAL)
    assert len(inside.jobs("reconcilers")) == 1


def test_the_pages_need_no_redis(operator: Client, settings: Any) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "REDIS_URL": "redis://127.0.0.1:1/0"}
    assert "ScheduleOrders" in page(operator)
    assert "ScheduleOrders" in one(operator)
    answer = operator.post(address("reconcilers_run"), {"reconciler": HEAL})
    assert answer.status_code == 503


# Ordering -----------------------------------------------------------------------------


def test_a_run_is_enqueued_once(operator: Client, inside: Inside) -> None:
    told = post(operator, "run", reconciler=HEAL)
    (job,) = inside.jobs("reconcilers")
    assert job["jid"] in told
    assert LogEntry.objects.get(object_id="reconcilers_run").object_repr == "ScheduleOrders"
    assert "on its way already" in post(operator, "run", reconciler=HEAL)
    assert len(inside.jobs("reconcilers")) == 1


def test_a_run_that_a_switch_stops_is_not_enqueued(operator: Client, inside: Inside) -> None:
    set_flag("disable_schedule_orders", True)
    assert "its kill switch is on" in post(operator, "run", reconciler=HEAL)
    assert inside.jobs("reconcilers") == []


def test_a_periodic_job_is_enqueued_with_its_arguments(operator: Client, inside: Inside) -> None:
    post(operator, "fire", schedule="nightly")
    assert inside.args("nights") == [[7]]
    assert "cannot be run: ModuleNotFoundError" in post(operator, "fire", schedule="lost")


def test_schedules_are_paused_and_go_on(operator: Client) -> None:
    for name in ("nightly", HEAL):
        assert "is paused" in post(operator, "pause", schedule=name)
        assert Schedule.objects.get(name=name).paused
        assert "was paused already" in post(operator, "pause", schedule=name)
    assert page(operator).count(">paused<") == 2
    for name in ("nightly", HEAL):
        assert "goes on" in post(operator, "resume", schedule=name)
        assert "was not paused" in post(operator, "resume", schedule=name)
    assert LogEntry.objects.count() == 4


def test_names_that_there_are_not_are_refused(operator: Client) -> None:
    for act in ACTS:
        told = post(operator, act, reconciler="<x>", schedule="<x>")
        assert "<x>" in told
    assert not Schedule.objects.exists()
    assert not LogEntry.objects.exists()


def test_who_may_only_look_orders_nothing(staff: Callable[..., Client], inside: Inside) -> None:
    viewer = staff(Permission.VIEW_DASHBOARD)
    for text in (page(viewer), one(viewer)):
        assert '<form method="post" action="/admin/django_jobqueue' not in text
    for act in ACTS:
        form = {"reconciler": HEAL, "schedule": HEAL}
        assert viewer.post(address(f"reconcilers_{act}"), form).status_code == 403
    assert inside.jobs("reconcilers") == []


# Finding out --------------------------------------------------------------------------


def test_a_dry_run_is_shown_until_the_next_look_and_changes_nothing(
    operator: Client, inside: Inside
) -> None:
    Order.objects.bulk_create([Order(pk=key) for key in (1, 2, 3)])
    OrderJob.set(on_commit=False).perform_async(1)
    assert post(operator, "dry_run", reconciler=HEAL) == "Looked, and changed nothing."
    text = one(operator)
    assert "<b>2</b><span>would be enqueued" in text
    assert "<b>1</b><span>have a job already" in text
    assert inside.args("orders") == [[1]]
    post(operator, "drift", reconciler=HEAL)
    text = one(operator)
    assert "would be enqueued" not in text
    assert "<b>2</b><span>have none" in text
    assert "2, 3" in text


def test_a_look_has_a_bound_and_tells_of_it(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.dashboard.pages.reconcilers.ROWS", 2)
    Order.objects.bulk_create([Order(pk=key) for key in (1, 2, 3)])
    for act, command in (("dry_run", "reconcile --dry-run"), ("drift", "drift")):
        post(operator, act, reconciler=HEAL)
        text = one(operator)
        assert "Not all rows were looked at" in text
        assert f"jobqueue {command} ScheduleOrders" in text
    monkeypatch.setattr("django_jobqueue.dashboard.pages.reconcilers.JOBS", 0)
    OrderJob.set(on_commit=False).perform_async(1)
    assert "jobqueue drift ScheduleOrders" in post(operator, "drift", reconciler=HEAL)


def test_what_the_users_query_raises_is_told(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ScheduleOrders) -> None:
        raise RuntimeError("no such <i>column</i>")

    monkeypatch.setattr(ScheduleOrders, "get_queryset", broken)
    for act in ("dry_run", "drift"):
        told = post(operator, act, reconciler=HEAL)
        assert told.endswith("could not look at its rows: RuntimeError: no such <i>column</i>")
    assert not LogEntry.objects.exists()
