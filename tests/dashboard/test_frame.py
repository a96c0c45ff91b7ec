"""The frame of all pages: who is let in, what is written down, and what an act may not skip."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import ResolverMatch, reverse

from django_jobqueue.dashboard.board import all_routes
from django_jobqueue.dashboard.routes import Act, BrokeOff, Done, Page
from django_jobqueue.dashboard.visit import PICKED, Refused, Visit
from django_jobqueue.exceptions import InvalidQuery, StoreUnavailable
from django_jobqueue.permissions import Permission
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


# Getting there ---------------------------------------------------------------------


def test_the_admins_index_leads_to_the_overview(operator: Client) -> None:
    front = reverse("admin:django_jobqueue_dashboard_changelist")
    assert front in operator.get(reverse("admin:index")).content.decode()
    assert operator.get(front).status_code == 200


def test_who_has_no_permission_finds_no_row_and_no_page(staff: Callable[..., Client]) -> None:
    browser = staff(Permission.RETRY_JOB)
    assert "/dashboard/" not in browser.get(reverse("admin:index")).content.decode()
    assert browser.get(address("overview")).status_code == 403


@pytest.mark.urls("tests.dashboard.site")
@pytest.mark.parametrize("namespace", ["second", "jobqueue"])
def test_another_site_and_an_own_address_have_links_of_their_own(
    operator: Client, namespace: str
) -> None:
    start = reverse(f"{namespace}:jobqueue_overview")
    content = operator.get(start).content.decode()
    assert f'href="{reverse(f"{namespace}:jobqueue_queues")}"' in content
    assert f'href="{reverse("admin:jobqueue_queues")}"' not in content


def test_the_way_back_is_a_list_as_in_the_admin_of_today(operator: Client) -> None:
    flag = "disable_jobqueue_bulk_action"
    page = operator.get(address("switches_one"), {"flag": flag}).content.decode()
    (way,) = re.findall(r'<ol class="breadcrumbs">.*?</ol>', page, re.DOTALL)
    steps = re.findall(r'<li><a href="(.*?)">', way)
    assert steps == [reverse("admin:index"), address("overview"), address("switches")]
    assert way.count("aria-current") == 1
    assert 'div class="breadcrumbs"' not in page


def test_every_route_has_a_name_and_an_address_of_its_own() -> None:
    routes = all_routes()
    assert len({route.name for route in routes}) == len(routes) > 40
    assert len({route.path for route in routes}) == len(routes)


# Acting ----------------------------------------------------------------------------


class Desk:
    """Posts to acts and looks at pages that a test makes up."""

    def __init__(self, browser: Client, rf: RequestFactory) -> None:
        self._rf = rf
        self._browser = browser

    def post(self, view: Callable[..., Done], **form: str) -> HttpResponse:
        """Post a form to an act that calls ``view``, as the superuser."""
        return self._answer(Act("x/", "made_up", view, Permission.RETRY_JOB), self._rf.post, form)

    def get(self, view: Callable[..., HttpResponse], **query: str) -> HttpResponse:
        """Look at a page that ``view`` makes, as the superuser."""
        return self._answer(Page("x/", "made_up", view), self._rf.get, query)

    def _answer(
        self, route: Act | Page, ask: Callable[..., object], words: dict[str, str]
    ) -> HttpResponse:
        request: Any = ask("/x/", words)
        user = User.objects.get(username="root")
        vars(request).update(
            user=user,
            session=self._browser.session,
            _dont_enforce_csrf_checks=True,
            resolver_match=ResolverMatch(print, (), {}, "jobqueue_made_up", namespaces=["admin"]),
        )
        vars(request)["_messages"] = FallbackStorage(request)
        self.request = request
        answer = route.pattern(admin.site).callback(request)
        assert isinstance(answer, HttpResponse)
        return answer

    @property
    def told(self) -> list[str]:
        """What the operator was told."""
        return [str(message) for message in vars(self.request)["_messages"]]


@pytest.fixture
def desk(operator: Client, rf: RequestFactory) -> Desk:
    """Acts and pages of one's own, posted to by a superuser."""
    return Desk(operator, rf)


def test_an_act_is_told_and_written_down_with_its_count(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "django_jobqueue.dashboard"):
        answer = desk.post(lambda visit: Done("Three went.", "queue low", 3, removes=True))
    assert (answer.status_code, answer["Location"]) == (302, address("overview"))
    assert desk.told == ["Three went."]
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_repr, entry.user.get_username()) == (
        DELETION, "queue low", "root",
    )  # fmt: skip
    assert entry.get_change_message() == "made_up (3): Three went."
    assert "root: made_up on queue low (3)" in caplog.text


def test_what_was_refused_is_told_and_not_written_down(desk: Desk) -> None:
    for error in (Refused("Tick one."), InvalidQuery("count", -1, "give a number from 1 on")):

        def refuse(visit: Visit, error: Exception = error) -> Done:
            raise error

        assert desk.post(refuse).status_code == 302
        assert desk.told == [str(error)]
    assert not LogEntry.objects.exists()


def test_an_act_that_redis_broke_off_is_written_down(desk: Desk) -> None:
    def fail(visit: Visit) -> Done:
        raise StoreUnavailable("127.0.0.1:1 is away")

    assert desk.post(fail).status_code == 503
    entry = LogEntry.objects.get()
    assert entry.action_flag == CHANGE
    assert "made_up (0): broke off" in entry.get_change_message()


def test_hostile_names_stay_one_line_in_the_log_and_fit_its_column(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    name = "low\nroot: forged line\x1b[31m" + "x" * 500
    with caplog.at_level(logging.INFO, "django_jobqueue.dashboard"):
        desk.post(lambda visit: Done(name, name))
    entry = LogEntry.objects.get()
    assert "\n" not in entry.object_repr + entry.get_change_message()
    assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("/admin/x/?start=50", "/admin/x/?start=50"),
        ("https://evil.example/", None),
        ("//evil.example/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_an_act_leads_back_to_a_page_of_this_host_only(
    desk: Desk, wanted: str, there: str | None
) -> None:
    answer = desk.post(lambda visit: Done("Done.", "x"), next=wanted)
    assert answer["Location"] == (there or address("overview"))


def test_what_has_to_be_typed_is_compared_exactly(desk: Desk) -> None:
    def clear(visit: Visit) -> Done:
        visit.require_typed("low")
        return Done("Cleared.", "queue low")

    for typed in ("", "Low", "lo"):
        desk.post(clear, confirm=typed)
        assert "type “low” exactly" in desk.told[0]
    desk.post(clear, confirm="low")
    assert desk.told == ["Cleared."]


def test_none_and_too_many_ticked_are_refused(desk: Desk) -> None:
    def act(visit: Visit) -> Done:
        return Done(", ".join(visit.pick()), "x")

    desk.post(act)
    assert "tick at least one" in desk.told[0]
    desk.post(act, pick=[str(n) for n in range(PICKED + 1)])  # type: ignore[arg-type]
    assert "101 are ticked" in desk.told[0]
    desk.post(act, pick=["a", "b", "a"])  # type: ignore[arg-type]
    assert desk.told == ["a, b"]


# Failing ---------------------------------------------------------------------------


def test_a_redis_that_does_not_answer_is_told_on_a_page(
    operator: Client, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(REDIS_URL="redis://someone:secret-word@127.0.0.1:1/0")
    answer = operator.get(address("queues"))
    assert answer.status_code == 503
    content = answer.content.decode()
    assert "127.0.0.1:1" in content
    assert "secret-word" not in content
    assert "someone" not in content


def test_a_question_that_makes_no_sense_is_told_on_a_page(desk: Desk) -> None:
    def ask(visit: Visit) -> HttpResponse:
        raise InvalidQuery("start", "<b>", "give a number from 0 on")

    answer = desk.get(ask)
    assert answer.status_code == 400
    assert "give a number from 0 on" in answer.content.decode()
    assert "<b>" not in answer.content.decode()


# When something fails --------------------------------------------------------------


def test_what_was_done_until_redis_failed_is_told_and_written_down(desk: Desk) -> None:
    def fail(visit: Visit) -> Done:
        done = Done("3 jobs were deleted.", "dead: a, b, c, d", 3, removes=True)
        raise BrokeOff(done, StoreUnavailable("127.0.0.1:1 is away"))

    answer = desk.post(fail)
    assert answer.status_code == 503
    assert "3 jobs were deleted." in answer.content.decode()
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_repr) == (DELETION, "dead: a, b, c, d")
    assert "made_up (3): broke off: 127.0.0.1:1 is away" in entry.get_change_message()


def test_an_act_that_broke_off_is_written_down_with_what_its_form_named(desk: Desk) -> None:
    def fail(visit: Visit) -> Done:
        raise StoreUnavailable("127.0.0.1:1 is away")

    desk.post(fail, place="retry", pick="1|abc", text="of an argument")
    assert LogEntry.objects.get().object_repr == "retry, 1|abc"


def test_a_target_that_is_too_long_for_its_column_is_told_whole(desk: Desk) -> None:
    jids = ", ".join(f"{n:024x}" for n in range(100))
    desk.post(lambda visit: Done("Gone.", jids, 100))
    entry = LogEntry.objects.get()
    assert entry.object_repr == jids[:200]
    assert jids in entry.get_change_message()


def test_a_database_that_does_not_answer_is_told_on_a_page(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **fields: object) -> Any:
        raise OperationalError("no such table: waffle_flag")

    for answer in (desk.post(fail, flag="disable_x"), desk.get(fail)):
        assert answer.status_code == 503
        assert "no such table: waffle_flag" in answer.content.decode()
    with caplog.at_level(logging.INFO, "django_jobqueue.dashboard"), monkeypatch.context() as patch:
        patch.setattr(LogEntry.objects, "create", fail)
        answer = desk.post(lambda visit: Done("Three went.", "queue low", 3))
    assert answer.status_code == 503
    assert "Three went." in answer.content.decode()
    assert "root: made_up on queue low (3)" in caplog.text


def test_whoever_comes_to_an_act_by_a_login_is_told_that_nothing_was_done(
    operator: Client,
) -> None:
    answer = operator.get(address("queues_pause"))
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "press it again" in answer.content.decode()


def test_no_page_of_another_site_has_ours_in_a_frame(operator: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "clickjacking" not in each]
    assert operator.get(address("overview"))["X-Frame-Options"] == "DENY"
