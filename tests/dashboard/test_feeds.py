"""What programs read: let in by a token, told in JSON what is wrong, and never shown arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from django_jobqueue import doctor
from django_jobqueue.connection import store
from django_jobqueue.dashboard import feeds
from django_jobqueue.permissions import Permission
from django_jobqueue.switches import flags
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.hostile import TEXTS, plant, plant_rows
from tests.jobsite.jobs import NoopJob
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

TOKEN = "a-token-that-nobody-guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NAMES = [route.name for route in feeds.routes]
#: Those that answer 503 by what they find.
HEALTH = {"api_doctor"}


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(METRICS_TOKEN=TOKEN, ON_COMMIT=False)


def test_the_token_reads_everything(client: Client) -> None:
    for name in NAMES:
        answer = client.get(address(name), headers=BEARER)
        assert answer.status_code in ((200, 503) if name in HEALTH else (200,)), name
        assert "no-store" in answer["Cache-Control"], name
        if name != "api_prometheus":
            assert answer["Content-Type"] == "application/json", name
            assert isinstance(answer.json(), dict), name
        assert "sessionid" not in answer.cookies, name


def test_nobody_is_told_401_and_sent_nowhere(client: Client) -> None:
    for name in NAMES:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = client.get(address(name), {"token": TOKEN}, headers=headers)
            assert answer.status_code == 401, name
            assert answer["WWW-Authenticate"].startswith("Bearer"), name
            assert set(answer.json()) == {"error"}, name
            assert "no-store" in answer["Cache-Control"], name


def test_of_those_who_are_logged_in_the_permission_decides(
    staff: Callable[..., Client], operator: Client
) -> None:
    viewer = staff(Permission.VIEW_DASHBOARD)
    other = staff(*(each for each in Permission if each is not Permission.VIEW_DASHBOARD))
    for name in NAMES:
        assert other.get(address(name)).status_code == 403, name
        for browser in (viewer, operator):
            assert browser.get(address(name)).status_code in (200, 503), name


def test_whom_the_admin_site_does_not_let_in_is_not_let_in_here(
    operator: Client, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a site does that wants a second factor.
    monkeypatch.setattr(admin.site, "has_permission", lambda request: False)
    assert operator.get(address("api_overview")).status_code == 403
    assert client.get(address("api_overview"), headers=BEARER).status_code == 200


def test_only_get_and_head_are_answered(client: Client) -> None:
    for name in NAMES:
        assert client.head(address(name), headers=BEARER).status_code in (200, 503), name
        for ask in (client.post, client.put, client.patch, client.delete):
            assert ask(address(name), headers=BEARER).status_code == 405, name


def test_where_everybody_has_to_log_in_a_program_has_not(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]  # fmt: skip
    assert client.get(address("api_overview"), headers=BEARER).status_code == 200
    assert client.get(address("api_overview")).status_code == 401


def test_no_feed_tells_arguments(client: Client, inside: Inside) -> None:
    secret = "an-argument-of-a-job"
    NoopJob.perform_async(secret)
    NoopJob.perform_in(60, secret)
    (raw,) = inside.raw()
    for name in ("retry", "dead"):
        inside.put(name, raw, 1)
    info: dict[str, str | int | float] = {"info": json.dumps({"queues": []}), "busy": 1}
    work = {"t1": json.dumps({"queue": "default", "run_at": 1, "payload": raw.decode()})}
    store().processes.record("h:1:0123456789ab", info, work)
    for name in NAMES:
        content = client.get(address(name), headers=BEARER).content.decode()
        assert secret not in content, name
    assert NoopJob.__name__ in client.get(address("api_work"), headers=BEARER).content.decode()


def test_an_unreachable_redis_is_a_503_and_metrics_are_a_200(
    client: Client, jobqueue_settings: JobqueueSettings
) -> None:
    url = "redis://somebody:a-secret@127.0.0.1:1/0"
    jobqueue_settings(METRICS_TOKEN=TOKEN, REDIS_URL=url)
    for name in NAMES:
        answer = client.get(address(name), headers=BEARER)
        content = answer.content.decode()
        assert "a-secret" not in content, name
        assert "somebody" not in content, name
        if name in ("api_overview", "api_queues", "api_processes", "api_work", "api_metrics"):
            assert (answer.status_code, list(answer.json())) == (503, ["error"]), name
    answer = client.get(address("api_prometheus"), headers=BEARER)
    assert answer.status_code == 200
    assert "\njobqueue_up 0.0\n" in answer.content.decode()
    assert client.get(address("api_doctor"), headers=BEARER).status_code == 503


def test_prometheus_is_told_in_its_own_format(client: Client) -> None:
    NoopJob.perform_async("x")
    answer = client.get(address("api_prometheus"), headers=BEARER)
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert '\njobqueue_queue_size{queue="default"} 1.0\n' in answer.content.decode()


@pytest.mark.parametrize(
    "query",
    [{"minutes": "0"}, {"minutes": "x"}, {"hours": "-1"}, {"hours": "1" * 5_000}, {"hours": "1e3"},
     {"minutes": "5", "hours": "1"}],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_a_400(client: Client, query: dict[str, str]) -> None:
    answer = client.get(address("api_metrics"), query, headers=BEARER)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_one_class_is_told_with_its_series(client: Client) -> None:
    query = {"job": "shop.jobs.SendMail", "minutes": "5"}
    (job,) = client.get(address("api_metrics"), query, headers=BEARER).json()["jobs"]
    assert job["name"] == "shop.jobs.SendMail"
    assert len(job["series"]) == 5


def test_the_doctor_is_a_health_check(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[tuple[bool, ...], int]] = [((), 200), ((False,), 200), ((False, True), 503)]
    for findings, status in cases:
        levels = {True: doctor.Level.FAULT, False: doctor.Level.WARNING}
        found = [doctor.Finding("x", levels[each], "It is.", "Do it.") for each in findings]
        monkeypatch.setattr(doctor, "examine", lambda found=found: found)
        answer = client.get(address("api_doctor"), headers=BEARER)
        assert (answer.status_code, answer.json()["ok"]) == (status, status == 200)
        assert len(answer.json()["findings"]) == len(findings)


def test_hostile_texts_break_no_feed(client: Client, inside: Inside) -> None:
    plant(inside.client, store().keys)
    plant_rows()
    for name in NAMES:
        answer = client.get(address(name), headers=BEARER)
        assert answer.status_code in ((200, 503) if name in HEALTH else (200,)), name
    for text in TEXTS:
        query = {"job": text, "minutes": text, "hours": ""}
        assert client.get(address("api_metrics"), query, headers=BEARER).status_code in (200, 400)
    lines = client.get(address("api_prometheus"), headers=BEARER).content.decode().splitlines()
    assert all(line.startswith(("jobqueue_", "# HELP", "# TYPE")) for line in lines)


@pytest.mark.urls("tests.dashboard.site")
def test_feeds_stand_wherever_the_dashboard_does(client: Client) -> None:
    for namespace in ("admin", "second", "jobqueue"):
        url = reverse(f"{namespace}:jobqueue_api_overview")
        assert client.get(url, headers=BEARER).status_code == 200
        assert client.get(url).status_code == 401


def test_a_database_that_does_not_answer_is_told_in_json(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError("no such table: waffle_flag")

    monkeypatch.setattr(flags, "rows", fail)
    answer = client.get(address("api_switches"), headers=BEARER)
    assert answer.status_code == 503
    assert "no such table" in answer.json()["error"]
