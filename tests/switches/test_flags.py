"""Rows of waffle as kill switches: what each field means, and the rows that migrate makes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from waffle.models import Flag

from django_jobqueue import Job
from django_jobqueue.switches import flags
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.state import OFF, ON, State
from tests.support.flags import set_flag


class WaffledJob(Job):
    """Has a row."""

    kill_switch_aliases = ("former_waffled_job",)

    def perform(self) -> None:
        """Do nothing."""


class ClaimantJob(Job):
    """Claims a flag as its former name that is another job's own."""

    kill_switch_aliases = ("waffled_job",)

    def perform(self) -> None:
        """Do nothing."""


class LongNamedJob(Job):
    """Has a flag that waffle cannot hold; a system check tells."""

    kill_switch = "x" * 93

    def perform(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("everyone", "percent", "state"),
    [
        (True, None, ON),
        (True, 10, ON),
        (False, None, OFF),
        (False, 99.9, OFF),
        (None, 30, State.partial(30)),
        (None, "99.9", State.partial(99.9)),
        (None, 0, OFF),
        (None, None, OFF),
    ],
)
def test_everyone_decides_and_then_percent(everyone: Any, percent: Any, state: State) -> None:
    assert (
        flags.state_of(Flag(name="disable_waffled_job", everyone=everyone, percent=percent))
        == state
    )


def test_fields_about_people_and_requests_mean_nothing() -> None:
    row = Flag(
        name="disable_waffled_job", testing=True, superusers=True, staff=True, authenticated=True,
        languages="en,de", rollout=True,
    )  # fmt: skip
    assert flags.state_of(row) == OFF
    assert flags.says_nothing(row)


# A model of the project's own ------------------------------------------------------


class OwnRow:
    """What a swapped model may be like."""

    def __init__(self, name: str, answer: Any, everyone: bool | None = True) -> None:
        self.name, self.everyone, self.percent = name, everyone, None
        self.asked: list[type] = []
        self._answer = answer

    def is_active_for_job(self, job: type) -> Any:
        """Answer as the test wants."""
        self.asked.append(job)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "everyone", "state"),
    [(True, False, ON), (False, True, OFF), (None, True, ON), (None, False, OFF)],
)
def test_a_method_of_the_model_wins_unless_it_says_none(
    answer: bool | None, everyone: bool, state: State
) -> None:
    row = OwnRow("disable_waffled_job", answer, everyone)
    assert flags.state_of(row) == state
    assert row.asked == [WaffledJob]


def test_the_method_is_told_the_job_also_by_a_former_name() -> None:
    row = OwnRow("disable_former_waffled_job", True)
    assert flags.state_of(row) == ON
    assert row.asked == [WaffledJob]


def test_the_method_is_not_asked_about_what_is_no_job() -> None:
    row = OwnRow("disable_signup", False)
    assert flags.state_of(row) == ON
    assert row.asked == []


def test_a_method_that_fails_leaves_it_to_the_row(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "_failures", Seldom(logging.getLogger("django_jobqueue.switches")))
    assert flags.state_of(OwnRow("disable_waffled_job", ValueError("no luck"))) == ON
    assert "is_active_for_job() of the flag disable_waffled_job failed" in caplog.messages[0]


# Rows -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_rows_are_read_with_one_query(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    Flag.objects.create(name="enable_something", everyone=True)
    Flag.objects.create(name="DISABLE_shouting", everyone=True)
    set_flag("disable_waffled_job", True)
    set_flag("disable_of_another_project", None, 30)
    with django_assert_num_queries(1):
        states = flags.read_states()
    assert {flag: state for flag, state in states.items() if not state.is_off} == {
        "disable_waffled_job": ON,
        "disable_of_another_project": State.partial(30),
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "everyone", "percent"),
    [(ON, True, None), (OFF, False, None), (State.partial(33.3), None, "33.3")],
)
@pytest.mark.parametrize("name", ["disable_waffled_job", "disable_without_row"])
def test_a_state_is_written_so_that_it_is_read_again(
    name: str, state: State, everyone: bool | None, percent: str | None
) -> None:
    Flag.objects.filter(name=name).update(percent=50)
    flags.set_state(name, state)
    row = Flag.objects.get(name=name)
    assert row.everyone is everyone
    assert percent == (None if row.percent is None else str(row.percent))
    assert flags.read_states()[name] == state


@pytest.mark.django_db
def test_migrating_twice_makes_each_row_once_and_resets_none() -> None:
    Flag.objects.filter(name="disable_waffled_job").delete()
    call_command("migrate", verbosity=0)
    row = Flag.objects.get(name="disable_waffled_job")
    assert row.everyone is False
    assert row.note == f"Stops {__name__}.WaffledJob: set Everyone to Yes."
    row.everyone, row.note = True, "INC-17"
    row.save()
    Flag.objects.filter(name="disable_claimant_job").delete()
    call_command("migrate", verbosity=0)
    row = Flag.objects.get(name="disable_waffled_job")
    assert (row.everyone, row.note) == (True, "INC-17")
    assert Flag.objects.filter(name="disable_claimant_job").count() == 1
    assert not Flag.objects.filter(name="disable_former_waffled_job").exists()
    assert not Flag.objects.filter(name__startswith="disable_xxx").exists()


@pytest.mark.django_db
def test_rows_that_another_process_makes_meanwhile_are_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags.create_rows(apps, "default")  # other tests have made classes since the migration
    rows = Flag.objects.count()
    monkeypatch.setattr(flags, "PREFIX", "none_was_there_")
    flags.create_rows(apps, "default")
    assert Flag.objects.count() == rows


def test_without_its_table_no_row_is_made(other_database: Any) -> None:
    flags.create_rows(apps, "other")
    assert other_database.introspection.table_names() == ["note"]


@pytest.mark.django_db
def test_models_that_are_not_migrated_yet_are_left_alone() -> None:
    class Nothing:
        def get_model(self, label: str) -> None:
            raise LookupError(label)

    Flag.objects.all().delete()
    flags.create_rows(Nothing(), "default")
    assert not Flag.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_apps_may_migrate_in_any_order(settings: Any) -> None:
    """From nothing: first ours, where waffle has no table, and then waffle."""
    call_command("migrate", "waffle", "zero", verbosity=0)
    try:
        call_command("migrate", "django_jobqueue", verbosity=0)
        assert Flag._meta.db_table not in connection.introspection.table_names()
    finally:
        call_command("migrate", "waffle", verbosity=0)
    assert Flag.objects.get(name="disable_waffled_job").everyone is False
