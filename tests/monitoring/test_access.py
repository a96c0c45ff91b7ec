"""Only who has the token or the permission reads the feeds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.test import RequestFactory

from django_jobqueue.monitoring.access import Access, access
from tests.conftest import JobqueueSettings

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(autouse=True)
def token(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(METRICS_TOKEN=TOKEN)


def request(header: str | None = None, user: Any = None, query: str = "") -> HttpRequest:
    headers = {} if header is None else {"Authorization": header}
    made = RequestFactory().get(f"/?{query}", headers=headers)
    if user is not None:
        made.user = user
    return made


def user(*permissions: str) -> Any:
    return SimpleNamespace(is_authenticated=True, has_perm=lambda name: name in permissions)


VIEWER = user("django_jobqueue.view_dashboard")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_token_lets_in(scheme: str) -> None:
    assert access(request(f"{scheme} {TOKEN}")) is Access.GRANTED


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Token {TOKEN}", f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", "Bearer None", "Bearer \u20ac",
        "Bearer \x00",
    ],
)  # fmt: skip
def test_nothing_else_does(header: str) -> None:
    assert access(request(header)) is Access.UNKNOWN


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "Authorization"])
def test_a_token_in_the_address_is_none(name: str) -> None:
    assert access(request(query=f"{name}={TOKEN}")) is Access.UNKNOWN
    assert access(request(query=f"{name}=Bearer {TOKEN}")) is Access.UNKNOWN


def test_without_a_token_in_the_settings_none_lets_in(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    for header in ("Bearer", "Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        assert access(request(header)) is Access.UNKNOWN


def test_the_permission_lets_in() -> None:
    assert access(request(user=VIEWER)) is Access.GRANTED


def test_who_is_logged_in_without_it_is_forbidden() -> None:
    for somebody in (user(), user("django_jobqueue.view_arguments"), user("view_dashboard")):
        assert access(request(user=somebody)) is Access.FORBIDDEN


def test_the_site_has_a_word_in_it_for_people_and_none_for_programs() -> None:
    def refuses(request: HttpRequest) -> bool:
        return False

    assert access(request(user=VIEWER), refuses) is Access.FORBIDDEN
    assert access(request(f"Bearer {TOKEN}"), refuses) is Access.GRANTED


def test_nobody_is_unknown() -> None:
    assert access(request()) is Access.UNKNOWN
    assert access(request(user=AnonymousUser())) is Access.UNKNOWN


def test_a_wrong_token_is_not_made_good_by_a_session() -> None:
    assert access(request("Bearer wrong", VIEWER)) is Access.UNKNOWN
