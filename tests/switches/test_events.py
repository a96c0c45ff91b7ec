"""Who threw which switch, and through which door."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from waffle.models import Flag

from django_jobqueue import Job
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.switches import events
from django_jobqueue.switches.events import Source, os_user
from tests.conftest import JobqueueSettings
from tests.support.flags import set_flag

FLAG = "disable_audited_job"

pytestmark = pytest.mark.django_db


class AuditedJob(Job):
    """Its switch is thrown by all sorts of people."""

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def _without_redis(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}


@pytest.fixture
def admin() -> Client:
    """The browser of somebody who may do everything in the admin."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ada", "ada@example.com", "x"))
    return client


def told() -> list[tuple[str, str, str, str, str]]:
    """Return all events, the oldest first."""
    return list(
        KillSwitchEvent.objects.order_by("pk").values_list(
            "flag", "old_state", "new_state", "actor", "source"
        )
    )


def save_in_admin(client: Client, row: Flag, **fields: str) -> None:
    """Fill in the form of a flag and send it."""
    form = {
        "name": row.name, "everyone": "unknown", "percent": "", "superusers": "on", "languages": "",
        "note": row.note, "users": "", "created_0": "2026-01-01", "created_1": "12:00:00",
        "modified_0": "2026-01-01", "modified_1": "12:00:00", **fields,
    }  # fmt: skip
    answer = client.post(reverse("admin:waffle_flag_change", args=[row.pk]), form)
    assert answer.status_code == 302, answer.content.decode()


def test_shell_admin_and_command_are_three_events_with_actor_and_source(admin: Client) -> None:
    row = set_flag(FLAG, True)
    save_in_admin(admin, row, everyone="false")
    call_command("jobqueue", "switches", "disable", "AuditedJob")
    assert told() == [
        (FLAG, "off", "on", os_user(), "code"),
        (FLAG, "on", "off", "ada", "admin"),
        (FLAG, "off", "on", os_user(), "command"),
    ]


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_doer_is_told_too(
    jobqueue_settings: JobqueueSettings, admin: Client
) -> None:
    """There the mirror is written at once, and who writes it records what nobody has."""
    jobqueue_settings()
    row = set_flag(FLAG, True)
    admin.post(
        reverse("admin:waffle_flag_changelist"),
        {"action": "disable_for_all", "_selected_action": [row.pk]},
    )
    call_command("jobqueue", "switches", "disable", "AuditedJob")
    assert told() == [
        (FLAG, "off", "on", os_user(), "code"),
        (FLAG, "on", "off", "ada", "admin"),
        (FLAG, "off", "on", os_user(), "command"),
    ]


def test_only_a_change_of_the_state_is_an_event(admin: Client) -> None:
    row = set_flag(FLAG, True)
    set_flag(FLAG, True, 30)
    set_flag("enable_something", True)
    save_in_admin(admin, row, everyone="true", note="INC-17")
    assert told() == [(FLAG, "off", "on", os_user(), "code")]


def test_an_action_of_the_admin_is_its_users_doing(admin: Client) -> None:
    row = set_flag(FLAG, False)
    choose = {"_selected_action": [str(row.pk)]}
    admin.post(reverse("admin:waffle_flag_changelist"), {"action": "enable_for_all", **choose})
    admin.post(reverse("admin:waffle_flag_changelist"), {"action": "delete_individually", **choose})
    assert told() == [(FLAG, "off", "on", "ada", "admin"), (FLAG, "on", "off", "ada", "admin")]


def test_a_deletion_in_the_admin_is_its_users_doing(admin: Client) -> None:
    row = set_flag(FLAG, None, 30)
    admin.post(reverse("admin:waffle_flag_delete", args=[row.pk]), {"post": "yes"})
    assert not Flag.objects.filter(pk=row.pk).exists()
    assert told()[1:] == [(FLAG, "30.0", "off", "ada", "admin")]


def test_what_code_does_after_a_request_is_not_the_users_doing(admin: Client) -> None:
    row = set_flag(FLAG, False)
    save_in_admin(admin, row, everyone="false", note="INC-17")
    set_flag(FLAG, True)
    assert told() == [(FLAG, "off", "on", os_user(), "code")]


def test_what_code_did_before_a_request_is_not_the_users_doing(admin: Client) -> None:
    row = set_flag(FLAG, True)
    choose = {"_selected_action": [str(row.pk)]}
    admin.post(reverse("admin:waffle_flag_changelist"), {"action": "disable_for_all", **choose})
    assert told() == [(FLAG, "off", "on", os_user(), "code"), (FLAG, "on", "off", "ada", "admin")]


def test_other_things_in_the_admin_are_not_about_flags(admin: Client) -> None:
    user = get_user_model().objects.create_user("eve")
    set_flag(FLAG, True)
    answer = admin.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert answer.status_code == 302
    assert told() == [(FLAG, "off", "on", os_user(), "code")]


def test_a_rolled_back_change_is_no_event() -> None:
    class Undo(Exception):
        pass

    with suppress(Undo), transaction.atomic():
        set_flag(FLAG, True)
        assert len(told()) == 1
        raise Undo
    assert told() == []


def test_code_can_say_who_acts() -> None:
    with events.acting("grace", Source.CODE):
        set_flag(FLAG, True)
    set_flag(FLAG, False)
    assert [actor for _, _, _, actor, _ in told()] == ["grace", os_user()]


def test_a_long_name_is_cut(admin: Client) -> None:
    with events.acting("x" * 500, Source.COMMAND):
        set_flag(FLAG, True)
    assert told()[0][3] == "x" * 150


def test_an_operator_gets_his_switch_also_where_it_cannot_be_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        # The real thing: on some databases it breaks the transaction around it.
        Flag.objects.raw("SELECT * FROM jobqueue_has_no_such_table")[0]

    monkeypatch.setattr("django.db.models.query.QuerySet.create", fail)
    row = Flag.objects.get(name=FLAG)
    row.everyone = True
    row.save()
    monkeypatch.undo()
    assert Flag.objects.get(name=FLAG).everyone is True
    assert caplog.messages == [f"{FLAG} is on now, and that could not be recorded"]
    assert told() == []


def test_errors_of_another_kind_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("django.db.models.query.QuerySet.create", fail)
    row = Flag.objects.get(name=FLAG)
    row.everyone = True
    with pytest.raises(ZeroDivisionError):
        row.save()
    assert not issubclass(ZeroDivisionError, DatabaseError)


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", fail)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert os_user() == "uid 12345"


def test_a_fixture_brings_its_own_events(tmp_path: Any) -> None:
    set_flag(FLAG, True)
    fixture = tmp_path / "flags.json"
    call_command("dumpdata", "waffle.flag", "django_jobqueue", output=str(fixture), verbosity=0)
    set_flag(FLAG, False)
    call_command("loaddata", str(fixture), verbosity=0)
    assert [new for _, _, new, _, _ in told()] == ["on", "off"]


def test_the_newest_event_of_each_flag_is_found() -> None:
    set_flag(FLAG, True)
    set_flag("disable_rival", True)
    set_flag(FLAG, None, 30)
    found = {flag: event.new_state for flag, event in events.newest().items()}
    assert found == {FLAG: "30.0", "disable_rival": "on"}
