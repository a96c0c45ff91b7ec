"""``manage.py jobqueue periodic``: what runs again and again is seen, paused, resumed and run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_jobqueue import Job
from django_jobqueue.models import Schedule
from django_jobqueue.scheduling import firing, slots
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside, inside

__all__ = ["inside"]

pytestmark = pytest.mark.django_db

HEAL = f"{__name__}.Heal"


class Nightly(Job):
    """Is due at night."""

    unique_for = timedelta(minutes=10)
    self_healing = False

    def perform(self, number: int) -> None:
        """Do nothing."""


class Heal(Job):
    """Stands for a reconciler."""

    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Noon of a day in January."""
    frozen = freeze(monkeypatch)
    frozen.now = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()
    return frozen


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        CLIENT_MIDDLEWARE=[],
        PERIODIC={
            "nightly": {
                "job": f"{__name__}.Nightly",
                "cron": "0 3 * * *",
                "tz": "Europe/Paris",
                "args": [7],
            },
            "lost": {"job": "nowhere.jobs.Lost", "every": "1h"},
        },
        RECONCILERS={HEAL: {"every": "1m"}},
    )


def periodic(*arguments: str, code: int = 0) -> str:
    """Return what the command writes. It ends with ``code``."""
    out = StringIO()
    try:
        call_command("jobqueue", "periodic", *arguments, stdout=out)
        ended = 0
    except SystemExit as left:
        ended = int(left.code or 0)
    assert ended == code
    return out.getvalue()


def listed(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(periodic("--json"))
    (entry,) = (each for each in found if each["name"] == name)
    return entry


def test_all_are_listed_with_their_next_time() -> None:
    lines = periodic().splitlines()
    assert lines[0].split() == ["NAME", "WHEN", "NEXT", "LAST", "JOB"]
    assert [line.split()[0] for line in lines[1:]] == ["nightly", "lost", HEAL]
    assert "0 3 * * * (Europe/Paris)  2027-01-16 02:00:00 UTC  never" in lines[1]
    assert periodic() == periodic("list")
    assert not Schedule.objects.exists()


def test_the_list_is_there_for_programs() -> None:
    slots.begin(HEAL)
    first = firing.find_timetable(HEAL).next(1_800_014_400) or 0
    due = [datetime.fromtimestamp(first + 60 * n, UTC).isoformat() for n in range(3)]
    assert listed(HEAL) == {
        "name": HEAL,
        "kind": "reconciler",
        "job": HEAL,
        "when": "every 60 s",
        "every": 60,
        "cron": None,
        "tz": "UTC",
        "words": "",
        "next": due[0],
        "upcoming": due,
        "last": None,
        "paused": False,
        "unpushed": False,
    }
    assert listed("nightly")["next"] == "2027-01-16T02:00:00+00:00"
    assert listed("nightly")["upcoming"][0] == "2027-01-16T03:00:00+01:00"
    assert listed("nightly")["words"] == "At 03:00 every day"
    Schedule.objects.update(last_tick=first)
    assert (listed(HEAL)["last"], listed(HEAL)["unpushed"]) == (due[0], True)
    assert json.loads(periodic("list", "--json")) == json.loads(periodic("--json", "list"))


def test_where_there_is_nothing_that_is_said(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    assert periodic() == "Nothing stands in JOBQUEUE['PERIODIC'] or JOBQUEUE['RECONCILERS'].\n"
    assert json.loads(periodic("--json")) == []


def test_one_is_paused_and_resumed(clock: FrozenClock) -> None:
    assert periodic("pause", "nightly") == "nightly: paused\n"
    assert periodic("pause", "nightly") == "nightly: was paused already\n"
    assert listed("nightly")["paused"] is True
    assert listed("nightly")["next"] is None
    assert "  paused  " in periodic()
    clock.advance(86_400)
    assert periodic("resume", "nightly") == ("nightly: goes on, next: 2027-01-17 02:00:00 UTC\n")
    assert periodic("resume", "nightly").startswith("nightly: was not paused")
    row = Schedule.objects.get()
    assert (row.paused, row.last_tick, row.pushed_tick) == (False, clock.now, clock.now)


def test_pause_and_resume_tell_programs_too() -> None:
    assert json.loads(periodic("pause", "nightly", "--json")) == {
        "name": "nightly",
        "paused": True,
        "changed": True,
    }
    assert json.loads(periodic("resume", "nightly", "--json")) == {
        "name": "nightly",
        "paused": False,
        "changed": True,
        "next": "2027-01-16T02:00:00+00:00",
    }


def test_one_is_run_now(inside: Inside) -> None:
    told = periodic("run", "nightly")
    (job,) = inside.jobs()
    assert told == f"nightly: enqueued, jid {job['jid']}\n"
    assert job["args"] == [7]
    assert not Schedule.objects.exists()


def test_one_that_is_on_its_way_is_not_run_and_the_exit_code_says_so(inside: Inside) -> None:
    jid = json.loads(periodic("run", "nightly", "--json"))["jid"]
    assert "on its way already" in periodic("run", "nightly", code=3)
    assert json.loads(periodic("run", "nightly", "--json", code=3)) == {
        "name": "nightly",
        "jid": None,
    }
    assert [job["jid"] for job in inside.jobs()] == [jid]


def test_one_that_cannot_be_imported_is_not_run() -> None:
    with pytest.raises(CommandError, match="lost cannot be run: No module named 'nowhere'"):
        periodic("run", "lost")


@pytest.mark.parametrize("action", ["pause", "resume", "run"])
def test_what_is_not_in_the_settings_is_refused(action: str) -> None:
    with pytest.raises(CommandError, match="Did you mean 'nightly'"):
        periodic(action, "nightlly")
    assert not Schedule.objects.exists()
