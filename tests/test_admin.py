"""The record in the admin: looked at by whoever may, changed by nobody but for a pause."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobqueue.models import KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule

pytestmark = pytest.mark.django_db

RECORDS = (KillSwitchEvent, ReconcilerState, ReconcilerRun)


@pytest.fixture
def admin(client: Client) -> Client:
    """A superuser's browser."""
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(model: type, action: str, *args: Any) -> str:
    return reverse(f"admin:django_jobqueue_{model.__name__.lower()}_{action}", args=args)


@pytest.fixture
def rows() -> dict[type, Any]:
    """One row of each."""
    now = timezone.now()
    return {
        KillSwitchEvent: KillSwitchEvent.objects.create(
            flag="disable_x_job", old_state="off", new_state="on", actor="ann", source="admin"
        ),
        ReconcilerState: ReconcilerState.objects.create(name="shop.jobs.Heal", status="done"),
        ReconcilerRun: ReconcilerRun.objects.create(
            name="shop.jobs.Heal", status="done", started_at=now, finished_at=now
        ),
        Schedule: Schedule.objects.create(name="nightly", last_tick=60, pushed_tick=60),
    }


@pytest.mark.parametrize("model", [*RECORDS, Schedule])
def test_each_has_a_page_and_nothing_can_be_added_or_deleted(
    admin: Client, rows: dict[type, Any], model: type
) -> None:
    assert admin.get(page(model, "changelist")).status_code == 200
    assert admin.get(page(model, "change", rows[model].pk)).status_code == 200
    assert admin.post(page(model, "add")).status_code == 403
    assert admin.post(page(model, "delete", rows[model].pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", RECORDS)
def test_a_record_cannot_be_changed(admin: Client, rows: dict[type, Any], model: type) -> None:
    assert admin.post(page(model, "change", rows[model].pk), {"status": "x"}).status_code == 403


def test_a_schedule_can_be_paused_and_nothing_else(admin: Client, rows: dict[type, Any]) -> None:
    row = rows[Schedule]
    answer = admin.post(
        page(Schedule, "change", row.pk), {"name": "other", "last_tick": 0, "paused": "on"}
    )
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.name, row.last_tick, row.paused) == ("nightly", 60, True)


def test_the_data_can_be_dumped_for_the_dashboard_has_no_table(rows: dict[type, Any]) -> None:
    told = StringIO()
    call_command("dumpdata", "django_jobqueue", stdout=told)
    assert {row["model"] for row in json.loads(told.getvalue())} >= {
        f"django_jobqueue.{model.__name__.lower()}" for model in rows
    }
