"""Who may do what: every address, every permission, and the four kinds of people who come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission as Right
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from django_jobqueue.connection import store
from django_jobqueue.dashboard.board import all_routes
from django_jobqueue.dashboard.routes import Act, Feed, Page
from django_jobqueue.models import KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule
from django_jobqueue.permissions import Permission
from django_jobqueue.store.queues import Push
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.crawler import Crawler
from tests.dashboard.hostile import plant, plant_rows
from tests.support.inside import Inside

pytestmark = [pytest.mark.django_db, pytest.mark.once]

#: What each act takes, written down here once more: a wrong word in a route is found.
ACTS = {
    Permission.TOGGLE_SWITCH: ("switches_disable", "switches_enable", "switches_percent"),
    Permission.RETRY_JOB: (
        "switches_release", "job_retry", "job_enqueue", "job_release",
        *(f"bulk_{verb}_{what}" for verb in ("retry", "enqueue", "release")
          for what in ("ask", "stop", "run")),
    ),
    Permission.KILL_JOB: ("job_kill", "bulk_kill_ask", "bulk_kill_stop", "bulk_kill_run"),
    Permission.DELETE_JOB: (
        "job_delete", "bulk_delete_ask", "bulk_delete_stop", "bulk_delete_run", "locks_release",
    ),
    Permission.CLEAR_QUEUE: ("switches_purge", "queues_clear"),
    Permission.PAUSE_QUEUE: ("queues_pause", "queues_resume"),
    Permission.STOP_PROCESS: (
        "busy_quiet", "busy_stop", "busy_dump", "busy_quiet_all", "busy_stop_all",
    ),
    Permission.RUN_RECONCILER: (
        "reconcilers_run", "reconcilers_dry_run", "reconcilers_drift", "reconcilers_fire",
        "reconcilers_pause", "reconcilers_resume",
    ),
}  # fmt: skip

NEEDS = {name: permission for permission, names in ACTS.items() for name in names}

R = TypeVar("R", Act, Page, Feed)

#: Answers of a page or an act to somebody who was let in: shown, done or refused, not found.
LET_IN = frozenset({200, 302, 400, 404})


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def names(kind: type[R]) -> list[str]:
    return [route.name for route in all_routes() if isinstance(route, kind)]


def test_every_act_takes_the_permission_that_stands_here() -> None:
    assert {route.name: route.needs for route in all_routes() if isinstance(route, Act)} == NEEDS


def test_an_anonymous_visitor_is_sent_to_log_in_and_a_program_is_told(client: Client) -> None:
    login = reverse("admin:login")
    for name in names(Page):
        assert client.get(address(name))["Location"].startswith(login), name
    for name in names(Act):
        assert client.post(address(name))["Location"].startswith(login), name
    for name in names(Feed):
        assert client.get(address(name)).status_code == 401, name


def test_a_user_without_staff_status_is_not_let_in_whatever_he_may(client: Client) -> None:
    user = User.objects.create_user("customer")
    user.user_permissions.set(Right.objects.filter(content_type__app_label="django_jobqueue"))
    client.force_login(user)
    for name in names(Page):
        assert client.get(address(name)).status_code == 302, name
    for name in names(Act):
        assert client.post(address(name)).status_code == 302, name
    assert not LogEntry.objects.exists()


def test_staff_without_a_permission_sees_and_does_nothing(staff: Callable[..., Client]) -> None:
    browser = staff()
    asked = [*map(browser.get, map(address, names(Page)))]
    asked += map(browser.post, map(address, names(Act)))
    asked += map(browser.get, map(address, names(Feed)))
    assert {answer.status_code for answer in asked} == {403}


def test_who_may_look_sees_every_page_and_does_nothing(staff: Callable[..., Client]) -> None:
    browser = staff(Permission.VIEW_DASHBOARD)
    for name in names(Page):
        assert browser.get(address(name)).status_code in LET_IN - {302}, name
    for name in names(Act):
        assert browser.post(address(name)).status_code == 403, name
    for name in names(Feed):
        assert browser.get(address(name)).status_code in (200, 503), name
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("permission", [*Permission])
def test_a_permission_lets_do_what_it_names_and_nothing_else(
    staff: Callable[..., Client], permission: Permission
) -> None:
    browser = staff(Permission.VIEW_DASHBOARD, permission)
    done = {name for name in names(Act) if browser.post(address(name)).status_code != 403}
    assert done == set(ACTS.get(permission, ()))
    # Without the one that lets in at all, none helps.
    if permission is not Permission.VIEW_DASHBOARD:
        alone = staff(permission)
        answers = {alone.post(address(name)).status_code for name in names(Act)}
        assert answers == {403}


def test_a_superuser_may_do_everything(operator: Client) -> None:
    for name in names(Page):
        assert operator.get(address(name)).status_code in LET_IN, name
    for name in names(Act):
        assert operator.post(address(name)).status_code in LET_IN, name


def test_the_buttons_of_a_page_are_those_that_work(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    plant(inside.client, store().keys, ("low",))
    everywhere = Crawler(operator, address("overview"), alike=2)
    everywhere.walk()
    assert {name for name in NEEDS if address(name) in buttons(everywhere)} >= {
        "job_retry", "queues_clear", "busy_stop", "locks_release",
    }  # fmt: skip
    for permission in Permission:
        crawler = Crawler(staff(Permission.VIEW_DASHBOARD, permission), address("overview"))
        for page in everywhere.pages:
            crawler.visit(page)
        assert buttons(crawler) <= {address(name) for name in ACTS.get(permission, ())}


def buttons(crawler: Crawler) -> set[str]:
    """Return the addresses of ours that the forms of some pages post to."""
    return {
        form.action.partition("?")[0]
        for page in crawler.pages.values()
        for form in page.forms
        if form.method == "post" and form.action.startswith(address("overview"))
    }


# Whatever the method ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "options", "patch"])
def test_an_act_takes_a_post_only(operator: Client, method: str) -> None:
    for name in names(Act):
        assert getattr(operator, method)(address(name)).status_code == 405, name


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_pages_and_feeds_are_looked_at_only(operator: Client, method: str) -> None:
    for name in [*names(Page), *names(Feed)]:
        assert getattr(operator, method)(address(name)).status_code == 405, name


def test_no_act_is_done_without_the_token_of_its_form() -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))
    for name in names(Act):
        assert browser.post(address(name)).status_code == 403, name
    assert not LogEntry.objects.exists()


def test_the_token_of_its_form_lets_an_act_through() -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))
    token = browser.get(reverse("admin:password_change")).cookies["csrftoken"].value
    store().queues.push_unique([Push("low", b"x")])
    form = {"csrfmiddlewaretoken": token, "of": "low"}
    assert browser.post(address("queues_pause"), form).status_code == 302
    assert LogEntry.objects.count() == 1


def test_pages_are_never_cached(operator: Client) -> None:
    for name in [*names(Page), *names(Feed)]:
        assert "no-store" in operator.get(address(name))["Cache-Control"], name


def test_looking_changes_nothing(operator: Client, inside: Inside) -> None:
    plant(inside.client, store().keys, ("low", "<b>"))
    plant_rows(("low", "<b>"))
    before = everything(inside), rows()
    crawler = Crawler(operator, address("overview"))
    crawler.walk()
    for name in names(Feed):
        operator.get(address(name))
    assert len(crawler.pages) > len(names(Page))
    after = everything(inside), rows()
    for was, now in zip(before, after, strict=True):
        changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
        assert changed == set()


def everything(inside: Inside) -> dict[str, Any]:
    """Return every key under the test's prefix, with all that stands there."""
    client = inside.client
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    keys = {name: inside.key(name) for name in inside.names()}
    return {name: read[client.type(key)](key) for name, key in keys.items()}


def rows() -> dict[str, list[Any]]:
    """Return every row that somebody could have changed."""
    models = (KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule, LogEntry, Session)
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}
